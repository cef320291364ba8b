import type { Interceptor, Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { jsonWithAny, sendAnyInJson } from "../internal/any-in-json.js";
import { http2Sessions } from "../internal/node/http2-sessions.js";

export interface NodeTransportOptions {
  /** Default: "connect". gRPC needs HTTP/2, and is what the Go runtime speaks. */
  protocol?: "connect" | "grpc" | "grpc-web";
  /** "1.1" cannot carry calls that stream both ways. Default: "2", without TLS for http URLs. */
  httpVersion?: "1.1" | "2";
  /** JSON instead of binary on the wire. Default: false. */
  json?: boolean;
  /** The deadline of every call that has none of its own. Default: none. */
  defaultTimeoutMs?: number;
  /** Asks for compressed answers: it costs both ends time, which slow networks are worth. Default: false. */
  compression?: boolean;
  interceptors?: Interceptor[];
}

/** A transport that holds a connection, to be closed when it is not needed any more. */
export interface NodeTransport extends Transport, AsyncDisposable {
  /** Closes the connection; calls under way fail. Idempotent. */
  close(): Promise<void>;
}

/** A transport over Node's HTTP client, for Node, Deno and Bun: every kind of call, in every protocol. */
export function createNodeTransport(
  url: string,
  {
    protocol = "connect",
    httpVersion = "2",
    json = false,
    defaultTimeoutMs,
    compression = false,
    interceptors = [],
  }: NodeTransportOptions = {},
): NodeTransport {
  if (protocol === "grpc" && httpVersion === "1.1") {
    throw new TypeError(
      'Cannot speak gRPC over HTTP/1.1: httpVersion must be "2", or the protocol another one',
    );
  }
  const shared = {
    baseUrl: url.replace(/\/+$/, ""),
    useBinaryFormat: !json,
    jsonOptions: jsonWithAny,
    interceptors: json ? [...interceptors, sendAnyInJson] : interceptors,
    ...(defaultTimeoutMs !== undefined && { defaultTimeoutMs }),
    ...(!compression && { acceptCompression: [] }),
  };
  const sessionManager = httpVersion === "2" ? http2Sessions(url) : undefined;
  const http = sessionManager
    ? { httpVersion: "2" as const, sessionManager }
    : { httpVersion: "1.1" as const };
  const transport =
    protocol === "grpc"
      ? createGrpcTransport({ ...shared, ...(sessionManager && { sessionManager }) })
      : protocol === "grpc-web"
        ? createGrpcWebTransport({ ...shared, ...http })
        : createConnectTransport({ ...shared, ...http });
  const close = async () => sessionManager?.abort();
  return { ...transport, close, [Symbol.asyncDispose]: close };
}
