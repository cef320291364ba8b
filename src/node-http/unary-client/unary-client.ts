import type { OutgoingHttpHeaders } from "node:http";
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type JsonReadOptions,
  type JsonWriteOptions,
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

/** What each protocol does in a way of its own. */
const PROTOCOLS = {
  connect: {
    isEnveloped: false,
    read: readConnectResponse as ReadResponse,
    header: (
      binary: boolean,
      timeoutMs: number | undefined,
      own: HeadersInit | undefined,
      accept: Compression[],
    ) => connectHeader("unary", binary, timeoutMs, own, accept, null, true),
  },
  grpc: {
    isEnveloped: true,
    read: readGrpcResponse as ReadResponse,
    header: (
      binary: boolean,
      timeoutMs: number | undefined,
      own: HeadersInit | undefined,
      accept: Compression[],
    ) => grpcHeader(binary, timeoutMs, own, accept, null),
  },
  "grpc-web": {
    isEnveloped: true,
    read: readGrpcWebResponse as ReadResponse,
    header: (
      binary: boolean,
      timeoutMs: number | undefined,
      own: HeadersInit | undefined,
      accept: Compression[],
    ) => grpcWebHeader(binary, timeoutMs, own, accept, null, true),
  },
} as const;

/** A method, and how its messages are encoded. */
interface CalledMethod {
  readonly path: string;
  readonly url: string;
  readonly serialization: MethodSerializationLookup<DescMessage, DescMessage>;
}

/**
 * Makes unary calls over HTTP/2 sessions, in all three protocols. Connect's transports are made for streams: they put an
 * async iterable, two AbortControllers and a DOMException around each call, which take longer than the call itself.
 */
export function createUnaryClient(options: UnaryClientOptions): Transport["unary"] {
  const { baseUrl, protocol, useBinaryFormat, acceptCompression, defaultTimeoutMs, readMaxBytes } = options;
  const { isEnveloped, read, header: headerOf } = PROTOCOLS[protocol];
  const prefix = new URL(baseUrl).pathname.replace(/\/$/, "");
  const methods = new WeakMap<DescMethodUnary, CalledMethod>();
  const accept = [...acceptCompression];
  // Most calls have no header and no deadline of their own: these are the headers of all of them.
  const plainHeaders = nodeHeaders(headerOf(useBinaryFormat, undefined, undefined, accept));

  const calledMethod = (method: DescMethodUnary): CalledMethod => {
    const known = methods.get(method);
    if (known) return known;
    const limits = { readMaxBytes, writeMaxBytes: 0xffffffff };
    const called = {
      path: prefix + methodPath(method),
      url: createMethodUrl(baseUrl, method),
      serialization: createMethodSerializationLookup(method, undefined, options.jsonOptions, limits),
    };
    methods.set(method, called);
    return called;
  };

  /** Sends `message` and resolves with the response. */
  const send = (
    method: DescMethodUnary,
    message: unknown,
    headers: OutgoingHttpHeaders,
    parts: CallParts,
  ): Promise<UnaryResponse> => {
    const { path, serialization } = calledMethod(method);
    const bytes = serialization.getI(useBinaryFormat).serialize(message as never);
    headers[":method"] = "POST";
    headers[":path"] = path;
    const body = isEnveloped ? sealEnvelope(0, bytes) : bytes;
    const call = new UnaryClientCall(options.sessions, { headers, body, isEnveloped, readMaxBytes }, parts);
    return call.response.then(async (raw) => {
      const decoded = read(raw, options);
      const { header, trailer, message } = decoded instanceof Promise ? await decoded : decoded;
      const output = serialization.getO(useBinaryFormat).parse(message);
      return { stream: false, service: method.parent, method, header, trailer, message: output } as never;
    });
  };

  const interceptedOf = (call: CallParts) =>
    options.interceptors.reduceRight<(request: UnaryRequest) => Promise<UnaryResponse>>(
      (next, interceptor) => interceptor(next as never) as never,
      (request) => send(request.method, request.message, nodeHeaders(request.header), call),
    );

  return ((
    method: DescMethodUnary,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    own: HeadersInit | undefined,
    input: MessageInitShape<DescMessage>,
    contextValues: ContextValues | undefined,
  ) => {
    const limitMs = timeoutMs === undefined ? defaultTimeoutMs : timeoutMs <= 0 ? undefined : timeoutMs;
    const parts: CallParts = { signal, timeoutMs: limitMs, contextValues };
    const message = create(method.input, input);
    if (options.interceptors.length === 0) {
      const headers =
        own === undefined && limitMs === undefined
          ? { ...plainHeaders }
          : nodeHeaders(headerOf(useBinaryFormat, limitMs, own, accept));
      return send(method, message, headers, parts);
    }
    const scope = new CallScope(signal, limitMs);
    const request = {
      stream: false as const,
      service: method.parent,
      method,
      requestMethod: "POST",
      url: calledMethod(method).url,
      header: headerOf(useBinaryFormat, limitMs, own, accept),
      contextValues: contextValues ?? createContextValues(),
      message,
      signal: scope.signal,
    };
    const intercepted = interceptedOf({ signal: scope.signal, timeoutMs: undefined, contextValues });
    return scope.run(intercepted(request as never), true);
  }) as Transport["unary"];
}

function nodeHeaders(headers: Headers): OutgoingHttpHeaders {
  const all: OutgoingHttpHeaders = {};
  headers.forEach((value, name) => {
    all[name] = name === "set-cookie" ? headers.getSetCookie() : value;
  });
  return all;
}
