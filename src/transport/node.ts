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
import { checkHealth } from "./failover/health-check.js";
import { serverUrls } from "./failover/server-urls.js";
import { createFailover } from "./failover.js";
import { checkTransportNumbers } from "./option-checks.js";

/** The options of createNodeTransport(). */
export interface NodeTransportOptions {
  /** The protocol of calls. gRPC needs HTTP/2, and is what the Go runtime supports. Default: "connect". */
  protocol?: "connect" | "grpc" | "grpc-web";
  /**
   * The version of HTTP; "1.1" has no bidirectional streams. HTTP/2 is used without TLS for http URLs. Default: "2".
   */
  httpVersion?: "1.1" | "2";
  /** Sends JSON instead of binary. Default: false. */
  json?: boolean;
  /** The message types that a `google.protobuf.Any` may hold in JSON. Default: plain bytes only. */
  registry?: Registry;
  /** The certificate authorities (PEM) to trust instead of those of Node. */
  ca?: SecureContextOptions["ca"];
  /** The deadline of calls that have none of their own, in milliseconds. Default: none. */
  defaultTimeoutMs?: number;
  /** Accepts compressed responses, which cost CPU time at both ends and help on slow networks. Default: false. */
  compression?: boolean;
  /**
   * The most bytes of a decompressed message of a response; a larger one fails with `Code.ResourceExhausted`.
   * Default: 67108864, which is more than a server with default limits sends.
   */
  readMaxBytes?: number;
  /** How long a connection may take to open (TCP, TLS and HTTP/2 SETTINGS), in milliseconds. Default: 10000. */
  dialTimeoutMs?: number;
  /** Connect's interceptors, around every call, from the outermost on. Default: none. */
  interceptors?: Interceptor[];
  /** The bearer token of every call, or a function that returns it, called for each. Default: none. */
  token?: Token;
}

/** A transport that has connections, to be closed when it is not needed any more. */
export interface NodeTransport extends Transport, AsyncDisposable {
  /**
   * A transport to the server at `url` with the same options, for calls that only that server can answer, as those of a
   * versioned map's primary. It is closed separately.
   */
  sibling?(url: string): NodeTransport;
  /** Closes the connections; open calls fail. Idempotent. */
  close(): Promise<void>;
}

/**
 * A transport over Node's HTTP client, for Node, Deno and Bun: every kind of call, by every protocol. It keeps its
 * connection open between calls, until close(). Of several URLs it uses one at a time, the first chosen at random, and
 * another when that server is gone or closes. Throws a TypeError for gRPC over HTTP/1.1, for a malformed URL, and for a
 * list of URLs that is empty or has one twice.
 *
 * @example
 * ```ts
 * import { createState } from "fairlead";
 * import { createNodeTransport } from "fairlead/node";
 *
 * const transport = createNodeTransport("http://localhost:34904", { protocol: "grpc" });
 * const carts = createState<string[]>(transport, "default");
 * await carts.set("ada", ["book"]);
 * await transport.close();
 * ```
 */
export function createNodeTransport(
  url: string | readonly string[],
  options: NodeTransportOptions = {},
): NodeTransport {
  const { protocol = "connect", httpVersion = "2", defaultTimeoutMs, token } = options;
  checkTransportNumbers({ defaultTimeoutMs });
  if (protocol === "grpc" && httpVersion === "1.1") {
    throw new TypeError(
      'Cannot speak gRPC over HTTP/1.1: httpVersion must be "2", or the protocol another one',
    );
  }
  const urls = serverUrls(url);
  const open = (baseUrl: string) => {
    const { transport, close } =
      httpVersion === "2" ? overHttp2(baseUrl, protocol, options) : overHttp1(baseUrl, protocol, options);
    return { ...withStreamWatchdog(withErrorMapping(transport, lostConnection)), close };
  };
  const { close, ...transport } =
    urls.length === 1
      ? open(urls[0])
      : createFailover(urls, {
          open,
          defaultTimeoutMs,
          check: checkHealth,
          checksFirst: httpVersion === "1.1",
        });
  return {
    ...(token === undefined ? transport : withBearerToken(transport, token)),
    sibling: (other) => createNodeTransport(other, options),
    close,
    [Symbol.asyncDispose]: close,
  };
}

type Protocol = NonNullable<NodeTransportOptions["protocol"]>;

/** One of Connect's transports, and what closes its connections. */
interface ConnectedTransport {
  readonly transport: Transport;
  readonly close: () => Promise<void>;
}

/** HTTP/2 multiplexes all calls over one connection. Unary calls have a client of their own, which is faster. */
function overHttp2(baseUrl: string, protocol: Protocol, options: NodeTransportOptions): ConnectedTransport {
  const { compression = false } = options;
  const otherProtocols = protocol === "grpc" ? ' and protocol to "connect" or "grpc-web"' : "";
  const sessions = new Http2Sessions(baseUrl, {
    tls: tlsOf(options),
    advice: `: set httpVersion to "1.1"${otherProtocols}`,
    keepalive: { dialMs: options.dialTimeoutMs ?? DIAL_TIMEOUT_MS },
  });
  const common = commonOptions(baseUrl, options);
  const http2 = {
    ...common,
    ...(!compression && { acceptCompression: [] }),
    interceptors: [...common.interceptors, deadlineReset, sessions.interceptor],
    httpVersion: "2" as const,
    sessionManager: sessions,
  };
  const { stream } =
    protocol === "grpc"
      ? createGrpcTransport(http2)
      : protocol === "grpc-web"
        ? createGrpcWebTransport(http2)
        : createConnectTransport(http2);
  const unary = createUnaryClient({
    ...common,
    protocol,
    acceptCompression: compression ? [compressionGzip, compressionBrotli] : [],
    sessions,
  });
  return { transport: { unary, stream }, close: async () => sessions.close() };
}

function overHttp1(baseUrl: string, protocol: Protocol, options: NodeTransportOptions): ConnectedTransport {
  const connections = new Http1Connections(baseUrl, {
    tls: tlsOf(options),
    dialMs: options.dialTimeoutMs ?? DIAL_TIMEOUT_MS,
  });
  const common = commonOptions(baseUrl, options);
  const http1 = {
    ...common,
    ...(!options.compression && { acceptCompression: [] }),
    interceptors: [...common.interceptors, connections.interceptor],
    httpVersion: "1.1" as const,
    nodeOptions: { agent: connections.agent },
  };
  const transport = protocol === "grpc-web" ? createGrpcWebTransport(http1) : createConnectTransport(http1);
  return { transport, close: async () => connections.close() };
}

const DIAL_TIMEOUT_MS = 10_000;

const tlsOf = ({ ca }: NodeTransportOptions): SecureContextOptions => (ca === undefined ? {} : { ca });

function commonOptions(
  baseUrl: string,
  {
    json = false,
    registry,
    defaultTimeoutMs,
    readMaxBytes = READ_MAX_BYTES,
    interceptors = [],
  }: NodeTransportOptions,
) {
  return {
    baseUrl,
    useBinaryFormat: !json,
    jsonOptions: anyJsonOptions(registry),
    interceptors: [...interceptors, ...(json ? [sendAnyInJson] : [])],
    readMaxBytes,
    ...(defaultTimeoutMs !== undefined && { defaultTimeoutMs }),
  };
}
