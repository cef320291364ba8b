import { setTimeout as delay } from "node:timers/promises";
import { create, type DescMessage, type Message, type MessageShape } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { type CallOptions, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { addHeaders, toConformanceError, toHeaderList } from "./convert.js";
import {
  type ClientCompatRequest,
  ClientCompatRequestSchema,
  ClientCompatResponseSchema,
  type ClientResponseResult,
  ClientResponseResultSchema,
} from "./gen/connectrpc/conformance/v1/client_compat_pb.js";
import { StreamType } from "./gen/connectrpc/conformance/v1/config_pb.js";
import {
  BidiStreamRequestSchema,
  ClientStreamRequestSchema,
  type ConformancePayload,
  ConformancePayloadSchema,
  ConformanceService,
  IdempotentUnaryRequestSchema,
  ServerStreamRequestSchema,
  UnaryRequestSchema,
  UnimplementedRequestSchema,
} from "./gen/connectrpc/conformance/v1/service_pb.js";
import { fromRunner, toRunner } from "./pipe.js";

/** The number of calls at the same time, as in the runner's own client. */
const MOST_CALLS = 8;

/** Makes the calls of the runner over the transports that `transportOf` returns. */
export async function performAll(
  transportOf: (request: ClientCompatRequest) => Transport | Promise<Transport>,
): Promise<void> {
  const underWay = new Set<Promise<void>>();
  for await (const request of fromRunner(ClientCompatRequestSchema)) {
    const { testName } = request;
    const answer = (result: Parameters<typeof create<typeof ClientCompatResponseSchema>>[1]) =>
      toRunner(ClientCompatResponseSchema, create(ClientCompatResponseSchema, { ...result, testName }));
    const one = async () => {
      try {
        const value = await new Performance(request).with(await transportOf(request));
        answer({ result: { case: "response", value } });
      } catch (error) {
        answer({ result: { case: "error", value: { message: `${(error as Error).stack}` } } });
      }
    };
    const call = one().finally(() => underWay.delete(call));
    underWay.add(call);
    if (underWay.size >= MOST_CALLS) await Promise.race(underWay);
  }
  await Promise.all(underWay);
}

type Answered = Message & { payload?: ConformancePayload | undefined };

/** One call of the runner, and its result. */
class Performance {
  readonly #request: ClientCompatRequest;
  readonly #result: ClientResponseResult = create(ClientResponseResultSchema);
  readonly #left = new AbortController();
  #isOver = false;
  /** Called for each message, and at the end. */
  #tell: () => void = () => {};

  constructor(request: ClientCompatRequest) {
    this.#request = request;
  }

  async with(transport: Transport): Promise<ClientResponseResult> {
    try {
      await this.#call(transport);
    } catch (thrown) {
      const error = ConnectError.from(thrown);
      const metadata = toHeaderList(error.metadata);
      this.#result.error = toConformanceError(error);
      if (this.#result.responseHeaders.length === 0) this.#result.responseHeaders = metadata;
      this.#result.responseTrailers = metadata;
    }
    return this.#result;
  }

  async #call(transport: Transport): Promise<void> {
    const client = createClient(ConformanceService, transport);
    const { method, requestHeaders, timeoutMs } = this.#request;
    const options: CallOptions = {
      headers: addHeaders(new Headers(), requestHeaders),
      signal: this.#left.signal,
      ...(timeoutMs !== undefined && { timeoutMs }),
      onHeader: (headers) => {
        this.#result.responseHeaders = toHeaderList(headers);
      },
      onTrailer: (trailers) => {
        this.#result.responseTrailers = toHeaderList(trailers);
      },
    };
    switch (method) {
      case "Unary":
        return this.#one(client.unary(this.#only(UnaryRequestSchema), options));
      case "IdempotentUnary":
        return this.#one(client.idempotentUnary(this.#only(IdempotentUnaryRequestSchema), options));
      case "Unimplemented":
        return this.#one(client.unimplemented(this.#only(UnimplementedRequestSchema), options));
      case "ClientStream":
        return this.#take(await client.clientStream(this.#outgoing(ClientStreamRequestSchema), options));
      case "ServerStream": {
        const answers = client.serverStream(this.#only(ServerStreamRequestSchema), options);
        this.#sent();
        return this.#takeAll(answers);
      }
      case "BidiStream":
        return this.#takeAll(client.bidiStream(this.#outgoing(BidiStreamRequestSchema), options));
      default:
        throw new Error(`there is no method ${method}`);
    }
  }

  async #one(answer: Promise<Answered>): Promise<void> {
    this.#sent();
    this.#take(await answer);
  }

  async #takeAll(answers: AsyncIterable<Answered>): Promise<void> {
    try {
      for await (const answer of answers) this.#take(answer);
    } finally {
      this.#isOver = true;
      this.#tell();
    }
  }

  #take({ payload }: Answered): void {
    const { payloads } = this.#result;
    payloads.push(payload ?? create(ConformancePayloadSchema));
    const timing = this.#request.cancel?.cancelTiming;
    if (timing?.case === "afterNumResponses" && timing.value === payloads.length) this.#left.abort();
    this.#tell();
  }

  /** The requests; in full duplex each is sent after the response to the previous one. */
  async *#outgoing<T extends DescMessage>(type: T): AsyncGenerator<MessageShape<T>> {
    const { streamType, requestDelayMs, cancel } = this.#request;
    const isInTurn = streamType === StreamType.FULL_DUPLEX_BIDI_STREAM;
    for (const [i, message] of this.#messages(type).entries()) {
      if (isInTurn) await this.#answered(i);
      if (requestDelayMs > 0) await delay(requestDelayMs);
      yield message;
    }
    if (isInTurn) await this.#answered(this.#request.requestMessages.length);
    if (cancel?.cancelTiming.case === "beforeCloseSend") this.#left.abort();
    this.#sent();
  }

  /** Resolves after that many responses, or at the end. */
  async #answered(count: number): Promise<void> {
    while (this.#result.payloads.length < count && !this.#isOver) {
      await new Promise<void>((resolve) => {
        this.#tell = resolve;
      });
    }
  }

  /** Called after the last request: cancels the call after the delay of the test. */
  #sent(): void {
    const { cancel } = this.#request;
    if (!cancel) return;
    const { case: when, value } = cancel.cancelTiming;
    if (when !== undefined && when !== "afterCloseSendMs") return;
    setTimeout(() => this.#left.abort(), value ?? 0);
  }

  #messages<T extends DescMessage>(type: T): MessageShape<T>[] {
    return this.#request.requestMessages.map((packed) => {
      const message = anyUnpack(packed, type);
      if (!message) throw new Error(`a request is a ${packed.typeUrl}, not a ${type.typeName}`);
      return message;
    });
  }

  #only<T extends DescMessage>(type: T): MessageShape<T> {
    const [message, ...others] = this.#messages(type);
    if (!message || others.length > 0) {
      throw new Error(
        `${this.#request.method} takes one message, not ${this.#request.requestMessages.length}`,
      );
    }
    return message;
  }
}
