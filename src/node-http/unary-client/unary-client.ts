import type { OutgoingHttpHeaders } from "node:http";
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type JsonReadOptions,
  type JsonWriteOptions,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import {
  type ContextValues,
  createContextValues,
  type Interceptor,
  type Transport,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import {
  type Compression,
  createMethodSerializationLookup,
  createMethodUrl,
  type MethodSerializationLookup,
} from "@connectrpc/connect/protocol";
import { requestHeaderWithCompression as connectHeader } from "@connectrpc/connect/protocol-connect";
import { requestHeaderWithCompression as grpcHeader } from "@connectrpc/connect/protocol-grpc";
import { requestHeaderWithCompression as grpcWebHeader } from "@connectrpc/connect/protocol-grpc-web";
import { CallScope } from "../../rpc/dispatch/call-scope.js";
import { withLazySignal } from "../../rpc/dispatch/lazy-signal.js";
import { methodPath } from "../../rpc/dispatch/method-path.js";
import type { Http2Sessions } from "../http2-sessions.js";
import { sealEnvelope } from "../unary/envelope.js";
import {
  type ReadResponse,
  readConnectResponse,
  readGrpcResponse,
  readGrpcWebResponse,
} from "./response-format.js";
import { type CallParts, UnaryClientCall } from "./unary-client-call.js";

export interface UnaryClientOptions {
  readonly baseUrl: string;
  readonly protocol: "connect" | "grpc" | "grpc-web";
  readonly useBinaryFormat: boolean;
  readonly jsonOptions?: Partial<JsonReadOptions & JsonWriteOptions>;
  readonly interceptors: readonly Interceptor[];
  readonly readMaxBytes: number;
  readonly acceptCompression: readonly Compression[];
  readonly defaultTimeoutMs?: number;
  readonly sessions: Http2Sessions;
}

type HeadersOf = (
  useBinaryFormat: boolean,
  timeoutMs: number | undefined,
  own: HeadersInit | undefined,
  acceptCompression: Compression[],
) => Headers;

/** How each protocol frames a message, makes the headers of a request and reads a response. */
const PROTOCOLS: Record<
  UnaryClientOptions["protocol"],
  { isEnveloped: boolean; read: ReadResponse; headersOf: HeadersOf }
> = {
  connect: {
    isEnveloped: false,
    read: readConnectResponse,
    headersOf: (binary, timeoutMs, own, accept) =>
      connectHeader("unary", binary, timeoutMs, own, accept, null, true),
  },
  grpc: {
    isEnveloped: true,
    read: readGrpcResponse,
    headersOf: (binary, timeoutMs, own, accept) => grpcHeader(binary, timeoutMs, own, accept, null),
  },
  "grpc-web": {
    isEnveloped: true,
    read: readGrpcWebResponse,
    headersOf: (binary, timeoutMs, own, accept) => grpcWebHeader(binary, timeoutMs, own, accept, null, true),
  },
};

/** A method, and how its messages are encoded. */
interface CalledMethod {
  readonly path: string;
  readonly url: string;
  readonly serialization: MethodSerializationLookup<DescMessage, DescMessage>;
}

/** The options of a call, with its default deadline. */
interface Call extends CallParts {
  readonly header: HeadersInit | undefined;
}

/**
 * Makes unary calls over HTTP/2 sessions, in all three protocols. Connect's transports are made for streams: they put
 * an async iterable, two AbortControllers and a DOMException around each call, which take longer than the call itself.
 */
export function createUnaryClient(options: UnaryClientOptions): Transport["unary"] {
  const client = new UnaryClient(options);
  const { defaultTimeoutMs, interceptors } = options;
  const unary = (
    method: DescMethodUnary,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    input: MessageInitShape<DescMessage>,
    contextValues: ContextValues | undefined,
  ) => {
    // Connect takes 0 and less for no deadline at all.
    const limitMs = timeoutMs === undefined ? defaultTimeoutMs : timeoutMs <= 0 ? undefined : timeoutMs;
    const call = { signal, timeoutMs: limitMs, remainingMs: limitMs, header, contextValues };
    const message = create(method.input, input);
    return interceptors.length === 0
      ? client.call(method, message, call)
      : client.callIntercepted(method, message, call);
  };
  return unary as Transport["unary"];
}

class UnaryClient {
  readonly #options: UnaryClientOptions;
  readonly #protocol: (typeof PROTOCOLS)[UnaryClientOptions["protocol"]];
  readonly #prefix: string;
  readonly #methods = new WeakMap<DescMethodUnary, CalledMethod>();
  /** The headers of the calls that have no header and no deadline of their own, which are most. */
  readonly #plainHeaders: OutgoingHttpHeaders;

  constructor(options: UnaryClientOptions) {
    this.#options = options;
    this.#protocol = PROTOCOLS[options.protocol];
    this.#prefix = new URL(options.baseUrl).pathname.replace(/\/$/, "");
    this.#plainHeaders = toNodeHeaders(this.#headersOf(undefined, undefined));
  }

  call(method: DescMethodUnary, message: Message, call: Call): Promise<UnaryResponse> {
    const { header, timeoutMs } = call;
    const headers =
      header === undefined && timeoutMs === undefined
        ? { ...this.#plainHeaders }
        : toNodeHeaders(this.#headersOf(timeoutMs, header));
    return this.#send(method, message, headers, call);
  }

  callIntercepted(method: DescMethodUnary, message: Message, call: Call): Promise<UnaryResponse> {
    const { timeoutMs, header, contextValues } = call;
    const scope = new CallScope(call.signal, timeoutMs);
    const request = {
      stream: false,
      service: method.parent,
      method,
      requestMethod: "POST",
      url: this.#calledMethod(method).url,
      header: this.#headersOf(timeoutMs, header),
      contextValues: contextValues ?? createContextValues(),
      message,
    };
    const send: UnaryNext = (sent) => {
      const { contextValues } = sent;
      const parts = { ...scope.limitsOf(sent), remainingMs: scope.remainingMs, contextValues };
      return this.#send(sent.method, sent.message, toNodeHeaders(sent.header), parts, sent.url);
    };
    const next = this.#options.interceptors.reduceRight<UnaryNext>(
      (inner, interceptor) => interceptor(inner as never) as never,
      send,
    );
    return scope.run(next(withLazySignal(request, scope) as never));
  }

  async #send(
    method: DescMethodUnary,
    message: Message,
    headers: OutgoingHttpHeaders,
    parts: CallParts,
    url?: string,
  ): Promise<UnaryResponse> {
    const { sessions, useBinaryFormat, readMaxBytes } = this.#options;
    const { isEnveloped, read } = this.#protocol;
    const { path, url: ownUrl, serialization } = this.#calledMethod(method);
    const bytes = serialization.getI(useBinaryFormat).serialize(message);
    headers[":method"] = "POST";
    headers[":path"] = url === undefined || url === ownUrl ? path : pathIn(url);
    const body = isEnveloped ? sealEnvelope(0, bytes) : bytes;
    const call = new UnaryClientCall(sessions, { headers, body, isEnveloped, readMaxBytes }, parts);
    const decoded = read(await call.response, this.#options);
    const { header, trailer, message: output } = decoded instanceof Promise ? await decoded : decoded;
    const parsed = serialization.getO(useBinaryFormat).parse(output);
    return { stream: false, service: method.parent, method, header, trailer, message: parsed } as never;
  }

  #headersOf(timeoutMs: number | undefined, own: HeadersInit | undefined): Headers {
    const { useBinaryFormat, acceptCompression } = this.#options;
    return this.#protocol.headersOf(useBinaryFormat, timeoutMs, own, [...acceptCompression]);
  }

  #calledMethod(method: DescMethodUnary): CalledMethod {
    const known = this.#methods.get(method);
    if (known) return known;
    const { baseUrl, jsonOptions, readMaxBytes } = this.#options;
    const limits = { readMaxBytes, writeMaxBytes: MAX_WRITE_BYTES };
    const called = {
      path: this.#prefix + methodPath(method),
      url: createMethodUrl(baseUrl, method),
      serialization: createMethodSerializationLookup(method, undefined, jsonOptions, limits),
    };
    this.#methods.set(method, called);
    return called;
  }
}

/** The path and the query of a URL, which an interceptor has changed. */
function pathIn(url: string): string {
  const { pathname, search } = new URL(url);
  return pathname + search;
}

type UnaryNext = (request: UnaryRequest) => Promise<UnaryResponse>;

/** The most that the length of an envelope can say. */
const MAX_WRITE_BYTES = 0xffffffff;

function toNodeHeaders(headers: Headers): OutgoingHttpHeaders {
  const all: OutgoingHttpHeaders = {};
  headers.forEach((value, name) => {
    all[name] = name === "set-cookie" ? headers.getSetCookie() : value;
  });
  return all;
}
