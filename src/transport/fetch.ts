/// <reference lib="esnext.disposable" preserve="true" />
import type { DescMethod, JsonReadOptions, JsonWriteOptions, Registry } from "@bufbuild/protobuf";
import type { ConnectRouter, Interceptor, Transport } from "@connectrpc/connect";
import { lazyChunk, lazyMethods, lazyTransport } from "../client/lazy.js";
import { type Token, withToken } from "../client/token.js";
import { baseUrlOf } from "../lib/base-url.js";
import { asyncDispose } from "../lib/dispose.js";
import { expectManyListeners } from "../lib/max-listeners.js";
import { fetchOrUnavailable } from "../rpc/fetch-unavailable.js";
import { checkTransportNumbers } from "./option-checks.js";
import type { TunnelWorker } from "./share.js";
import type { ServerUrls, Serving } from "./tunnel.js";

/** The options of transports over fetch, by any protocol. */
export interface FetchOptions {
  /** Sends JSON instead of binary, which is easier to read in a browser's network panel. Default: false. */
  json?: boolean;
  /** The message types that a `google.protobuf.Any` may hold in JSON. Default: plain bytes only. */
  registry?: Registry;
  /** The deadline of calls that have none of their own, in milliseconds. Default: none. */
  defaultTimeoutMs?: number;
  /** Connect's interceptors, around every call, from the outermost on. Default: none. */
  interceptors?: Interceptor[];
  /** The bearer token of every call, or a function that returns it, called for each. Default: none. */
  token?: Token;
  /**
   * The most bytes of a decompressed message of a response; a larger one fails with `Code.ResourceExhausted`.
   * Default: 67108864, which is more than a server with default limits sends.
   */
  readMaxBytes?: number;
  /**
   * Called instead of the global fetch. For cookies to another origin give
   * `(input, init) => fetch(input, { ...init, credentials: "include" })`, and set `cors.credentials` at the server.
   */
  fetch?: typeof globalThis.fetch;
  /**
   * "tunnel": all calls use one WebSocket, which is faster for many calls. "fetch": only those that fetch does not
   * support. The socket opens with the first call that needs it. Default: "fetch".
   */
  prefer?: "fetch" | "tunnel";
  /** The id under which the server can call this end as an app. Default: none; serve() then fails. */
  appId?: string;
  /** How long the tunnel's socket stays open without calls, in milliseconds. Default: 60000. */
  idleMs?: number;
  /**
   * Returns the SharedWorker whose script calls `shareTunnels()`: all pages of the origin then share one socket.
   * Default: each page has its own, as in browsers without shared workers.
   */
  sharedWorker?: () => TunnelWorker;
}

/** A transport over fetch, with a tunnel for the calls that fetch does not support. */
export interface WebTransport extends Transport, AsyncDisposable {
  /**
   * Serves `routes` to the server through the tunnel until the result is closed, for example AppCallback in a tab.
   * Rejects with a TypeError without `appId`.
   */
  serve(routes: (router: ConnectRouter) => void): Promise<Serving>;
  /**
   * A tunnel to the server at `url` with the same options, for calls that only that server can answer, as those of a
   * versioned map's primary. It is closed separately.
   */
  sibling(url: string): Promise<Transport>;
  /** Closes the tunnel's socket, if it is open. Idempotent. */
  close(): Promise<void>;
}

/** The options that both of Connect's transports over fetch have. */
export interface ConnectWebOptions {
  readonly baseUrl: string;
  readonly fetch: typeof globalThis.fetch;
  readonly useBinaryFormat: boolean;
  readonly jsonOptions?: Partial<JsonReadOptions & JsonWriteOptions>;
  readonly interceptors: Interceptor[];
  readonly defaultTimeoutMs?: number;
}

/** A transport over fetch: `create` makes the one of the protocol. */
export function createFetchTransport(
  url: string | readonly string[],
  options: FetchOptions,
  create: (options: ConnectWebOptions) => Transport,
): WebTransport {
  const { json, interceptors = [], defaultTimeoutMs, token, prefer } = options;
  checkTransportNumbers({ defaultTimeoutMs });
  const urls = [url].flat().map(baseUrlOf) as unknown as ServerUrls;
  const common = {
    baseUrl: urls[0],
    fetch: fetchOrUnavailable(lazyChunk, options.fetch, options.readMaxBytes),
    useBinaryFormat: !json,
    interceptors,
    // Undefined is as good as none.
    defaultTimeoutMs: defaultTimeoutMs as number,
  };
  const transport =
    json || urls.length !== 1
      ? lazyTransport(({ openFetch }) => openFetch(urls, options, (more) => create({ ...common, ...more })))
      : create(common);
  const fetching = token === undefined ? transport : withToken(transport, token);
  const streaming = lazyTransport(({ withStreamWatchdog }) => withStreamWatchdog(fetching));
  const tunnel = lazyTunnel(urls, options);
  const fetched: Partial<Record<DescMethod["methodKind"], Transport>> =
    prefer === "tunnel" ? {} : { unary: fetching, server_streaming: streaming };
  return {
    ...tunnel,
    unary: (method, signal, ...rest) =>
      (fetched[method.methodKind] ?? tunnel).unary(method, expectManyListeners(signal), ...rest),
    stream: (method, signal, ...rest) =>
      (fetched[method.methodKind] ?? tunnel).stream(method, expectManyListeners(signal), ...rest),
    [asyncDispose]: tunnel.close,
  };
}

type LazyTunnel = Omit<WebTransport, keyof AsyncDisposable>;

/** A tunnel whose code is loaded with the first call that needs it. */
function lazyTunnel(urls: ServerUrls, options: FetchOptions): LazyTunnel {
  let isOpen = false;
  let isClosed = false;
  const tunnel = lazyMethods<LazyTunnel>(
    ({ openTunnel }) => {
      const transport = openTunnel(urls, options);
      isOpen = true;
      if (isClosed) void transport.close();
      return transport as Transport as LazyTunnel;
    },
    ["unary", "stream", "serve", "close", "sibling"],
  );
  return {
    ...tunnel,
    async close() {
      isClosed = true;
      if (isOpen) await tunnel.close();
    },
  };
}
