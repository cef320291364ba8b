/// <reference lib="esnext.disposable" preserve="true" />
import type { JsonReadOptions, JsonWriteOptions, Registry } from "@bufbuild/protobuf";
import type { ConnectRouter, Interceptor, Transport } from "@connectrpc/connect";
import { lazyChunk, lazyTransport, lazyValue } from "../client/lazy.js";
import { type Token, withToken } from "../client/token.js";
import { baseUrlOf } from "../lib/base-url.js";
import { asyncDispose } from "../lib/dispose.js";
import { expectManyListeners } from "../lib/max-listeners.js";
import { fetchOrUnavailable } from "../rpc/fetch-unavailable.js";
import { checkTransportNumbers } from "./option-checks.js";
import type { TunnelWorker } from "./share.js";
import type { Serving, TunnelTransport } from "./tunnel.js";

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
  url: string,
  options: FetchOptions,
  create: (options: ConnectWebOptions) => Transport,
): WebTransport {
  const { json = false, registry, interceptors = [], defaultTimeoutMs, token, prefer } = options;
  checkTransportNumbers({ defaultTimeoutMs });
  const common: ConnectWebOptions = {
    baseUrl: baseUrlOf(url),
    fetch: fetchOrUnavailable(lazyChunk, options.fetch, options.readMaxBytes),
    useBinaryFormat: !json,
    interceptors,
    ...(defaultTimeoutMs !== undefined && { defaultTimeoutMs }),
  };
  const transport = json
    ? lazyTransport(({ anyJsonOptions, sendAnyInJson }) =>
        create({
          ...common,
          jsonOptions: anyJsonOptions(registry),
          interceptors: [...interceptors, sendAnyInJson],
        }),
      )
    : create(common);
  const fetching = token === undefined ? transport : withToken(transport, token);
  const streaming = lazyTransport(({ withStreamWatchdog }) => withStreamWatchdog(fetching));
  const { tunnel, serve, close } = lazyTunnel(url, options);
  const prefersTunnel = prefer === "tunnel";
  return {
    unary: (method, signal, ...rest) =>
      (prefersTunnel ? tunnel : fetching).unary(method, expectManyListeners(signal), ...rest),
    stream: (method, signal, ...rest) =>
      (prefersTunnel || method.methodKind !== "server_streaming" ? tunnel : streaming).stream(
        method,
        expectManyListeners(signal),
        ...rest,
      ),
    serve,
    close,
    [asyncDispose]: close,
  };
}

/** A tunnel whose code is loaded with the first call that needs it. */
function lazyTunnel(
  url: string,
  options: FetchOptions,
): Pick<WebTransport, "serve" | "close"> & { tunnel: Transport } {
  let opened: Promise<TunnelTransport> | undefined;
  let isClosed = false;
  const load = lazyValue(({ createTunnelTransport }) => {
    const transport = createTunnelTransport(url, options);
    if (isClosed) void transport.close();
    return transport;
  });
  const open = () => (opened = load());
  return {
    tunnel: lazyTransport(open),
    serve: async (routes) => (await open()).serve(routes),
    async close() {
      isClosed = true;
      await (await opened?.catch(() => undefined))?.close();
    },
  };
}
