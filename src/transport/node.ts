/// <reference lib="esnext.disposable" preserve="true" />
import type { SecureContextOptions } from "node:tls";
import type { Registry } from "@bufbuild/protobuf";
import type { Interceptor, Transport } from "@connectrpc/connect";
import {
  compressionBrotli,
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import type { Token } from "../client/token.js";
import { baseUrlOf } from "../lib/base-url.js";
import { deadlineReset } from "../node-http/deadline-reset.js";
import { Http1Connections } from "../node-http/http1-connections.js";
import { Http2Sessions } from "../node-http/http2-sessions.js";
import { createUnaryClient } from "../node-http/unary-client/unary-client.js";
import { anyJsonOptions, sendAnyInJson } from "../rpc/any-in-json.js";
import { READ_MAX_BYTES } from "../rpc/fetch-unavailable.js";
import { lostConnection } from "../rpc/lost-connection.js";
import { withStreamWatchdog } from "../rpc/stream-watchdog.js";
import { withBearerToken } from "../rpc/with-bearer-token.js";
import { withErrorMapping } from "../rpc/with-error-mapping.js";
import { checkTransportNumbers } from "./option-checks.js";

/** How calls travel. */
export interface NodeTransportOptions {
  /** Default: "connect". gRPC needs HTTP/2, and is what the Go runtime speaks. */
  protocol?: "connect" | "grpc" | "grpc-web";
  /** "1.1" cannot carry calls that stream both ways. Default: "2"; without TLS for http URLs. */
  httpVersion?: "1.1" | "2";
  /** JSON instead of binary on the wire. Default: false. */
  json?: boolean;
  /** The messages that a `google.protobuf.Any` may hold in JSON. Default: plain bytes only. */
  registry?: Registry;
  /** The certificates (PEM) that a server's may be signed with, in the place of those that Node trusts by itself. */
  ca?: SecureContextOptions["ca"];
  /** The deadline of every call that has none of its own. Default: none. */
  defaultTimeoutMs?: number;
  /** Asks for compressed answers: it costs both ends time, which slow networks are worth. Default: false. */
  compression?: boolean;
  /**
   * The most bytes that a message of an answer may have once it is decompressed, more fails with
   * `Code.ResourceExhausted`. Default: 67108864, which is above what a server sends with its own defaults.
   */
  readMaxBytes?: number;
  /** How long a connection may take to be there, in milliseconds: TCP, TLS and HTTP/2 SETTINGS. Default: 10000. */
  dialTimeoutMs?: number;
  /** Connect's interceptors, around every call, from the outermost on. Default: none. */
  interceptors?: Interceptor[];
  /** The bearer token that every call carries, or what gives one, asked for each call. Default: none. */
  token?: Token;
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
    registry,
    ca,
    defaultTimeoutMs,
    compression = false,
    readMaxBytes = READ_MAX_BYTES,
    dialTimeoutMs = 10_000,
    interceptors = [],
    token,
  }: NodeTransportOptions = {},
): NodeTransport {
  checkTransportNumbers({ defaultTimeoutMs });
  if (protocol === "grpc" && httpVersion === "1.1") {
    throw new TypeError(
      'Cannot speak gRPC over HTTP/1.1: httpVersion must be "2", or the protocol another one',
    );
  }
  const baseUrl = baseUrlOf(url);
  const tls = ca === undefined ? {} : { ca };
  const advice = `: set httpVersion to "1.1"${protocol === "grpc" ? ' and protocol to "connect" or "grpc-web"' : ""}`;
  const connections =
    httpVersion === "2"
      ? new Http2Sessions(baseUrl, { tls, advice, keepalive: { dialMs: dialTimeoutMs } })
      : new Http1Connections(baseUrl, { tls, dialMs: dialTimeoutMs });
  const shared = {
    baseUrl,
    useBinaryFormat: !json,
    jsonOptions: anyJsonOptions(registry),
    interceptors: [
      ...interceptors,
      ...(json ? [sendAnyInJson] : []),
      ...(httpVersion === "2" ? [deadlineReset] : []),
      connections.interceptor,
    ],
    readMaxBytes,
    ...(defaultTimeoutMs !== undefined && { defaultTimeoutMs }),
    ...(!compression && { acceptCompression: [] }),
  };
  const sessionManager = connections instanceof Http2Sessions ? connections : undefined;
  const http =
    connections instanceof Http2Sessions
      ? { httpVersion: "2" as const, sessionManager: connections }
      : { httpVersion: "1.1" as const, nodeOptions: { agent: connections.agent } };
  const transport =
    protocol === "grpc"
      ? createGrpcTransport({ ...shared, ...(sessionManager && { sessionManager }) })
      : protocol === "grpc-web"
        ? createGrpcWebTransport({ ...shared, ...http })
        : createConnectTransport({ ...shared, ...http });
  const unary = sessionManager
    ? createUnaryClient({
        baseUrl,
        protocol,
        useBinaryFormat: !json,
        jsonOptions: anyJsonOptions(registry),
        interceptors: [...interceptors, ...(json ? [sendAnyInJson] : [])],
        readMaxBytes,
        acceptCompression: compression ? [compressionGzip, compressionBrotli] : [],
        ...(defaultTimeoutMs !== undefined && { defaultTimeoutMs }),
        sessions: sessionManager,
      })
    : transport.unary;
  const close = async () => connections.close();
  const calling = withStreamWatchdog(withErrorMapping({ unary, stream: transport.stream }, lostConnection));
  return {
    ...(token === undefined ? calling : withBearerToken(calling, token)),
    close,
    [Symbol.asyncDispose]: close,
  };
}
