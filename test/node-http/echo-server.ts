import type { SecureContextOptions } from "node:tls";
import { create, createFileRegistry, type DescFile } from "@bufbuild/protobuf";
import type { GenService } from "@bufbuild/protobuf/codegenv2";
import {
  FileDescriptorProtoSchema,
  file_google_protobuf_wrappers,
  MethodOptions_IdempotencyLevel as Idempotency,
  type StringValueSchema,
} from "@bufbuild/protobuf/wkt";
import type { ConnectRouter, HandlerContext, Interceptor, ServiceImpl } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { createConnectHandler } from "../../src/node-http/connect-handler.js";
import { openPort } from "../../src/node-http/one-port.js";
import { Http1Exchange, Http2Exchange } from "../../src/node-http/unary/exchange.js";
import { createUnaryHandler, type UnaryHandlerOptions } from "../../src/node-http/unary/unary-handler.js";

type Unary = { methodKind: "unary"; input: typeof StringValueSchema; output: typeof StringValueSchema };
type Download = { methodKind: "server_streaming"; input: Unary["input"]; output: Unary["output"] };

const WRAPPED = ".google.protobuf.StringValue";

/** Three methods with a text each way: `say`, `look` without side effects, which GET may call, and the stream `tell`. */
export const Echo = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: "test/echo.proto",
    package: "test",
    syntax: "proto3",
    dependency: ["google/protobuf/wrappers.proto"],
    service: [
      {
        name: "Echo",
        method: [
          { name: "Say", inputType: WRAPPED, outputType: WRAPPED },
          {
            name: "Look",
            inputType: WRAPPED,
            outputType: WRAPPED,
            options: { idempotencyLevel: Idempotency.NO_SIDE_EFFECTS },
          },
          { name: "Tell", inputType: WRAPPED, outputType: WRAPPED, serverStreaming: true },
        ],
      },
    ],
  }),
  (name): DescFile | undefined =>
    name === "google/protobuf/wrappers.proto" ? file_google_protobuf_wrappers : undefined,
).getService("test.Echo") as GenService<{ say: Unary; look: Unary; tell: Download }>;

export const SAY = "/test.Echo/Say";
export const LOOK = "/test.Echo/Look";

export type SayImpl = (text: string, context: HandlerContext) => string | Promise<string>;

/** What a server has counted. */
interface Counts {
  /** The calls that the unary handler has admitted. */
  admitted: number;
  /** The bytes of requests and responses that count to open calls. */
  arriving: number;
  leaving: number;
  mostArriving: number;
  /** The codes that calls have ended with, in their order. */
  readonly ends: number[];
  readonly broken: unknown[];
  readonly stalled: string[];
}

export interface EchoOptions extends Partial<UnaryHandlerOptions<unknown>> {
  /** Answers `say` and `look`. Default: the text itself. */
  say?: SayImpl;
  interceptors?: Interceptor[];
  acceptCompression?: Compression[];
  /** Before each call is admitted. */
  beforeAdmission?: NonNullable<UnaryHandlerOptions<unknown>["admit"]>;
  /** Whether Connect's own handlers answer all calls. */
  isReference?: boolean;
  tls?: SecureContextOptions;
}

/** A port on which the unary handler answers first, and Connect's own handlers what it does not. */
export async function openEcho({
  say = (text) => text,
  beforeAdmission,
  isReference = false,
  tls,
  acceptCompression = [compressionGzip, compressionBrotli],
  ...options
}: EchoOptions = {}) {
  const counts: Counts = {
    admitted: 0,
    arriving: 0,
    leaving: 0,
    mostArriving: 0,
    ends: [],
    broken: [],
    stalled: [],
  };
  const answer = async ({ value }: { value: string }, context: HandlerContext) => ({
    value: await say(value, context),
  });
  const tell = async function* ({ value }: { value: string }) {
    for (const letter of value) yield { value: letter };
  };
  const implementation = { say: answer, look: answer, tell } as unknown as ServiceImpl<typeof Echo>;
  const routes = (router: ConnectRouter) => void router.service(Echo, implementation);
  const handler = createUnaryHandler<unknown>(routes, {
    ...options,
    acceptCompression,
    admit(call, connection) {
      const admit = () => {
        counts.admitted++;
        call.usage = {
          path: call.path,
          addArriving(change) {
            counts.arriving += change;
            counts.mostArriving = Math.max(counts.mostArriving, counts.arriving);
            return undefined;
          },
          addLeaving: (change) => void (counts.leaving += change),
        };
        return { onEnd: (code: number) => void counts.ends.push(code), header: [["x-call", "1"]] as const };
      };
      const before = beforeAdmission?.(call, connection);
      return before instanceof Promise ? before.then(admit) : admit();
    },
    onBroken: (error) => void counts.broken.push(error),
    onStalled: (method) => void counts.stalled.push(method),
  });
  const reference = createConnectHandler({ ...options, acceptCompression, routes });
  const port = await openPort(
    (request, response) => {
      const exchange =
        request.httpVersionMajor === 1 && new Http1Exchange(request as never, response as never);
      const route = exchange && !isReference && handler.route(exchange);
      if (exchange && route) handler.answer(route, exchange, undefined);
      else reference(request, response);
    },
    {
      host: "127.0.0.1",
      port: 0,
      tls,
      ...(!isReference && {
        answerStream(stream, headers) {
          const exchange = new Http2Exchange(stream, headers);
          const route = handler.route(exchange);
          if (route) handler.answer(route, exchange, undefined);
          return route !== undefined;
        },
      }),
    },
  );
  return { url: port.url, port: port.port, counts, [Symbol.asyncDispose]: () => port.close(50) };
}
