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

/** How calls travel over fetch, whatever the protocol. */
export interface FetchOptions {
  /** JSON instead of binary on the wire: easier to read in a browser's network panel. Default: false. */
  json?: boolean;
  /** The messages that a `google.protobuf.Any` may hold in JSON. Default: plain bytes only. */
  registry?: Registry;
  /** The deadline of every call that has none of its own. Default: none. */
  defaultTimeoutMs?: number;
  /** Connect's interceptors, around every call, from the outermost on. Default: none. */
  interceptors?: Interceptor[];
  /** The bearer token that every call carries, or what gives one, asked for each call. Default: none. */
  token?: Token;
  /**
   * The most bytes that a message of an answer may have once it is decompressed, more fails with
   * `Code.ResourceExhausted`. Default: 67108864, which is above what a server sends with its own defaults.
   */
  readMaxBytes?: number;
  /**
   * Called in the place of the global fetch. For cookies to another origin give
   * `(input, init) => fetch(input, { ...init, credentials: "include" })`, and set `cors.credentials` at the server.
   */
  fetch?: typeof globalThis.fetch;
  /**
   * "tunnel": all calls go by one WebSocket, which is faster where there are many. "fetch": only those that fetch
   * cannot make. Either is opened with the first call that needs it. Default: "fetch".
   */
  prefer?: "fetch" | "tunnel";
  /** The app that this is: how the server finds it to call it. Default: none, and serve() is refused. */
  appId?: string;
  /** After how long without a call the tunnel's socket is closed, in milliseconds. Default: 60000. */
  idleMs?: number;
  /**
   * Gives the SharedWorker whose script calls `shareTunnels()`: all pages of the origin then share one socket. Default:
   * each page has its own, as it has where there are no such workers.
   */
  sharedWorker?: () => TunnelWorker;
}

/** A transport over fetch, with a tunnel beside it for what fetch cannot do. */
export interface WebTransport extends Transport, AsyncDisposable {
  /**
   * Serves `routes` to the server, through the tunnel, for as long as what it returns is not closed: AppCallback in a
   * tab. Needs `appId`.
   */
  serve(routes: (router: ConnectRouter) => void): Promise<Serving>;
  /** Closes the tunnel's socket, if there is one. Idempotent. */
  close(): Promise<void>;
}

/** What Connect's transports over fetch are made with. */
export interface ConnectWebOptions {
  readonly baseUrl: string;
  readonly fetch: typeof globalThis.fetch;
  readonly useBinaryFormat: boolean;
  readonly jsonOptions?: Partial<JsonReadOptions & JsonWriteOptions>;
  readonly interceptors: Interceptor[];
  readonly defaultTimeoutMs?: number;
}

/** The transport that `create` makes, with what fetch needs around it. */
export function createFetchTransport(
  url: string,
  options: FetchOptions,
  create: (wire: ConnectWebOptions) => Transport,
): WebTransport {
  const { json = false, registry, interceptors = [], defaultTimeoutMs, token, prefer } = options;
  checkTransportNumbers({ defaultTimeoutMs });
  const wire: ConnectWebOptions = {
    baseUrl: baseUrlOf(url),
    fetch: fetchOrUnavailable(lazyChunk, options.fetch, options.readMaxBytes),
    useBinaryFormat: !json,
    interceptors,
    ...(defaultTimeoutMs !== undefined && { defaultTimeoutMs }),
  };
  const transport = json
    ? lazyTransport(({ anyJsonOptions, sendAnyInJson }) =>
        create({
          ...wire,
          jsonOptions: anyJsonOptions(registry),
          interceptors: [...interceptors, sendAnyInJson],
        }),
      )
    : create(wire);
  const fetching = token === undefined ? transport : withToken(transport, token);
  const streaming = lazyTransport(({ withStreamWatchdog }) => withStreamWatchdog(fetching));
  const { tunnel, serve, close } = tunnelBeside(url, options);
  const all = prefer === "tunnel";
  return {
    unary: (method, signal, ...rest) =>
      (all ? tunnel : fetching).unary(method, expectManyListeners(signal), ...rest),
    stream: (method, signal, ...rest) =>
      (all || method.methodKind !== "server_streaming" ? tunnel : streaming).stream(
        method,
        expectManyListeners(signal),
        ...rest,
      ),
    serve,
    close,
    [asyncDispose]: close,
  };
}

/** A tunnel whose code is loaded, and whose socket is opened, when something needs it. */
function tunnelBeside(
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
