import { setTimeout } from "node:timers/promises";
import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { addHeaders, toConnectError, toHeaderList } from "./convert.js";
import {
  BidiStreamRequestSchema,
  ClientStreamRequestSchema,
  type ConformancePayload_RequestInfo,
  ConformancePayload_RequestInfoSchema,
  ConformancePayloadSchema,
  ConformanceService,
  IdempotentUnaryRequestSchema,
  ServerStreamRequestSchema,
  type StreamResponseDefinition,
  UnaryRequestSchema,
  type UnaryResponseDefinition,
} from "./gen/connectrpc/conformance/v1/service_pb.js";

/** The service that the runner calls: it responds as its requests demand. `Unimplemented` is not implemented. */
export function conformanceService(router: ConnectRouter): void {
  router.service(ConformanceService, {
    unary: (request, context) =>
      answerOne(request.responseDefinition, [anyPack(UnaryRequestSchema, request)], context),

    idempotentUnary: (request, context) =>
      answerOne(request.responseDefinition, [anyPack(IdempotentUnaryRequestSchema, request)], context),

    async clientStream(requests, context) {
      const all = await collect(ClientStreamRequestSchema, requests);
      return answerOne(all.first?.responseDefinition, all.packed, context);
    },

    async *serverStream(request, context) {
      const wanted = request.responseDefinition;
      const seen = [anyPack(ServerStreamRequestSchema, request)];
      promise(wanted, context);
      yield* answerRest(wanted, wanted?.responseData ?? [], seen, context);
      fail(wanted, seen, context);
    },

    async *bidiStream(requests, context) {
      const calls = requests[Symbol.asyncIterator]();
      const begun = await calls.next();
      if (begun.done) return;
      const { fullDuplex, responseDefinition: wanted } = begun.value;
      promise(wanted, context);
      const left = [...(wanted?.responseData ?? [])];
      const seen = [anyPack(BidiStreamRequestSchema, begun.value)];
      for (;;) {
        if (fullDuplex) {
          const data = left.shift();
          if (!data) break;
          await pause(wanted, context);
          yield { payload: payloadOf(data, seen.splice(0), context) };
        }
        const next = await calls.next();
        if (next.done) break;
        seen.push(anyPack(BidiStreamRequestSchema, next.value));
      }
      yield* answerRest(wanted, left, seen, context);
      fail(wanted, seen, context);
    },
  });
}

/** The headers and trailers of a definition, which every response has. */
function promise(
  wanted: UnaryResponseDefinition | StreamResponseDefinition | undefined,
  { responseHeader, responseTrailer }: HandlerContext,
): void {
  addHeaders(responseHeader, wanted?.responseHeaders ?? []);
  addHeaders(responseTrailer, wanted?.responseTrailers ?? []);
}

async function answerOne(
  wanted: UnaryResponseDefinition | undefined,
  seen: readonly Any[],
  context: HandlerContext,
) {
  promise(wanted, context);
  const info = infoOf(seen, context);
  await pause(wanted, context);
  const response = wanted?.response;
  if (response?.case === "error") {
    throw toConnectError(response.value, [anyPack(ConformancePayload_RequestInfoSchema, info)]);
  }
  const data = response?.case === "responseData" ? response.value : new Uint8Array();
  return { payload: create(ConformancePayloadSchema, { data, requestInfo: info }) };
}

/** The remaining messages. The first reports the requests `seen`, unless they were reported before. */
async function* answerRest(
  wanted: StreamResponseDefinition | undefined,
  left: readonly Uint8Array[],
  seen: Any[],
  context: HandlerContext,
) {
  for (const data of left) {
    await pause(wanted, context);
    yield { payload: payloadOf(data, seen.splice(0), context) };
  }
}

/** Throws the error of the definition, if any, with the requests `seen` if no message has reported them. */
function fail(
  wanted: StreamResponseDefinition | undefined,
  seen: readonly Any[],
  context: HandlerContext,
): void {
  if (!wanted?.error) return;
  const isFirst = wanted.responseData.length === 0;
  const info = () => anyPack(ConformancePayload_RequestInfoSchema, infoOf(seen, context));
  throw toConnectError(wanted.error, isFirst ? [info()] : []);
}

function payloadOf(data: Uint8Array, seen: readonly Any[], context: HandlerContext) {
  return create(ConformancePayloadSchema, {
    data,
    ...(seen.length > 0 && { requestInfo: infoOf(seen, context) }),
  });
}

function infoOf(requests: readonly Any[], context: HandlerContext): ConformancePayload_RequestInfo {
  const { requestHeader, requestMethod, url } = context;
  const timeoutMs = context.timeoutMs();
  return create(ConformancePayload_RequestInfoSchema, {
    requestHeaders: toHeaderList(requestHeader),
    requests: [...requests],
    ...(timeoutMs !== undefined && { timeoutMs: BigInt(Math.trunc(timeoutMs)) }),
    ...(requestMethod === "GET" && {
      connectGetInfo: { queryParams: toHeaderList(new URL(url).searchParams) },
    }),
  });
}

/** Waits for the delay of a response, or until the call ends. */
async function pause(
  wanted: { responseDelayMs: number } | undefined,
  { signal }: HandlerContext,
): Promise<void> {
  if (!wanted?.responseDelayMs) return;
  await setTimeout(wanted.responseDelayMs, undefined, { signal }).catch(() => {
    throw signal.reason;
  });
}

async function collect<T extends DescMessage>(type: T, requests: AsyncIterable<MessageShape<T>>) {
  let first: MessageShape<T> | undefined;
  const packed: Any[] = [];
  for await (const request of requests) {
    first ??= request;
    packed.push(anyPack(type, request));
  }
  return { first, packed };
}
