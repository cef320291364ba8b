/// <reference lib="esnext.disposable" preserve="true" />
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import type { Status } from "../client/status.js";
import type { Token } from "../client/token.js";
import { baseUrlOf } from "../lib/base-url.js";
import { asyncDispose } from "../lib/dispose.js";
import { withBearerToken } from "../rpc/with-bearer-token.js";
import { createCaller } from "../tunnel/call/caller.js";
import { TunnelConnection } from "../tunnel/connection.js";
import type { OpenSocket } from "../tunnel/socket/socket.js";
import { dialWebSocket, tunnelUrl } from "../tunnel/socket/web-socket.js";
import type { TunnelLimits } from "../tunnel/wire/limits.js";
import { checkTransportNumbers } from "./option-checks.js";
import { dialShared, type TunnelWorker } from "./share.js";
import { ServedRoutes } from "./tunnel/served-routes.js";
import { identityOf } from "./tunnel/session-identity.js";
import { SessionToken } from "./tunnel/session-token.js";

/** The options of createTunnelTransport(). */
export interface TunnelTransportOptions {
  /** The id under which the server can call this end as an app. Default: none; serve() then throws. */
  appId?: string;
  /** The deadline of calls that have none of their own, in milliseconds. Default: none. */
  defaultTimeoutMs?: number;
  /** Connect's interceptors, around every call, from the outermost on. Default: none. */
  interceptors?: Interceptor[];
  /**
   * The bearer token of this end, or a function that returns it. The server gets it before the first call, and again
   * when it changes. Default: none.
   */
  token?: Token;
  /**
   * How long the socket stays open without calls, in milliseconds; the next call opens it again. Default: 60000.
   * In Node, Deno and Bun this entry's WebSocket keeps the process alive while it is open, so at most 1000 are used
   * there; the one of `fairlead/node` has no such limit.
   */
  idleMs?: number;
  /** How long the socket may take to open, in milliseconds. Default: 10000. */
  dialTimeoutMs?: number;
  /**
   * Returns the SharedWorker whose script calls `shareTunnels()`: all pages of the origin then share one socket.
   * Default: each page has its own.
   */
  sharedWorker?: () => TunnelWorker;
  /**
   * The most bytes of a message of a response; a larger one fails with `Code.ResourceExhausted`. Default: the limit
   * `messageBytes`, 67108864.
   */
  readMaxBytes?: number;
  /** The limits of this end for the server. Default: see TunnelLimits. */
  limits?: Partial<TunnelLimits>;
}

/** Routes that the server can call, until they are closed. */
export interface Serving extends AsyncDisposable {
  /**
   * Resolves when the server can call the routes. After a lost connection they are offered again automatically. Rejects
   * with `Code.Canceled` if close() comes first.
   */
  readonly ready: Promise<void>;
  /** "connected" while the server can call the routes, "disconnected" while the socket is lost. */
  readonly status: Status;
  /** Stops serving the routes. Idempotent. */
  close(): Promise<void>;
}

/** A transport over one WebSocket, through which the server can call this end too. */
export interface TunnelTransport extends Transport, AsyncDisposable {
  /**
   * Serves `routes` to the server until the result is closed. The socket is kept open meanwhile, and opened again
   * whenever it is lost. Can be called several times. Throws a TypeError without `appId`.
   */
  serve(routes: (router: ConnectRouter) => void): Serving;
  /**
   * A transport to the server at `url` with the same options, for calls that only that server can answer, as those of a
   * versioned map's primary. It is closed separately. Undefined: the transport was not made from a URL.
   */
  sibling?(url: string): TunnelTransport;
  /** Stops serving and closes the socket. Open calls and later ones fail with `Code.Canceled`. Idempotent. */
  close(): Promise<void>;
}

/**
 * A transport through a tunnel to the server at `url`: every kind of call, in every runtime that has WebSocket, and the
 * fastest transport for many calls. The socket opens with the first call.
 *
 * @example
 * ```ts browser
 * import { createState } from "fairlead";
 * import { createTunnelTransport } from "fairlead/tunnel";
 *
 * const transport = createTunnelTransport("http://localhost:34904");
 * const carts = createState<string[]>(transport, "default");
 * await carts.set("ada", ["book"]);
 * await transport.close();
 * ```
 */
export const createTunnelTransport = (url: string, options: TunnelTransportOptions = {}): TunnelTransport =>
  createTunnelTo([baseUrlOf(url)], options);

/** The normalized URL of a server, or those of several of which one is used. */
export type ServerUrls = readonly [string, ...string[]];

/** Opens a socket to the server at `url`. */
export type DialServer = (url: string) => Promise<OpenSocket>;

/** The options of a transport that its maker knows, and not its user. */
interface DialOptions extends TunnelTransportOptions {
  /** What errors call the server. Default: the host of its URL. */
  host?: string;
}

/** A tunnel transport to the server at `urls`, or to the one of several that `choose` dials. */
export function createTunnelTo(
  urls: ServerUrls,
  options: DialOptions,
  choose = ([url]: ServerUrls, dial: DialServer) => dial(url),
): TunnelTransport {
  checkOptionsOf(options);
  const { dialTimeoutMs = 10_000, appId, sharedWorker } = options;
  const idleMs = Math.min(options.idleMs ?? 60_000, isProcess ? PROCESS_IDLE_MS : Number.POSITIVE_INFINITY);
  return {
    ...createTransportOver(
      urls[0],
      async () =>
        sharedWorker && typeof SharedWorker !== "undefined"
          ? dialShared(sharedWorker(), { urls, appId, idleMs, dialTimeoutMs })
          : choose(urls, (url) => dialWebSocket(tunnelUrl(url), dialTimeoutMs)),
      { ...options, idleMs },
    ),
    sibling: (url) => createTunnelTransport(url, options),
  };
}

/** Checks options that would otherwise fail only at the first call, or not at all. */
function checkOptionsOf({
  appId,
  defaultTimeoutMs,
  dialTimeoutMs,
  idleMs,
  limits,
}: TunnelTransportOptions): void {
  checkTransportNumbers({ defaultTimeoutMs, dialTimeoutMs, idleMs, ...limits });
  if (appId === undefined || (typeof appId === "string" && !/\p{Surrogate}/u.test(appId))) return;
  throw new TypeError(`Cannot create a transport: appId must be well-formed text, got ${String(appId)}`);
}

/** Whether this is a process that an open WebSocket keeps alive; pages and workers end without regard to it. */
const isProcess = Boolean(
  (globalThis as { process?: { versions?: { node?: string } } }).process?.versions?.node,
);

const PROCESS_IDLE_MS = 1000;

/** A tunnel transport over the sockets that `dial` opens. `url` is that of its requests, `host` the name in errors. */
export function createTransportOver(
  url: string,
  dial: () => Promise<OpenSocket>,
  options: DialOptions = {},
): TunnelTransport {
  checkOptionsOf(options);
  const {
    host = new URL(url).host,
    appId,
    defaultTimeoutMs,
    interceptors = [],
    token,
    idleMs = 60_000,
    limits,
  } = options;
  const sessionToken = new SessionToken(token);
  const served = new ServedRoutes((offer) => {
    connection.keepOpen(offer > 0);
    connection.session?.sendSettings({ offer });
  });
  const connection = new TunnelConnection({
    dial,
    host,
    limits,
    idleMs,
    prepare: () => sessionToken.refresh(),
    identity: () => identityOf(appId, sessionToken.authorization, served.offer),
    onSettings: ({ calledOffer = -1 }) => served.onCalled(calledOffer),
    onLost: (error) => served.onLost(error),
    onRefused: () => sessionToken.refuse(),
    answer:
      (session) =>
      (...call) =>
        served.dispatcher.on(session)(...call),
  });
  const caller = createCaller(connection, {
    interceptors,
    defaultTimeoutMs,
    messageBytes: options.readMaxBytes ?? limits?.messageBytes,
    baseUrl: url,
  });
  const sendToken = (header: HeadersInit | undefined, text: string) => {
    if (sessionToken.update(text)) {
      connection.session?.sendSettings({ authorization: sessionToken.authorization });
    }
    return header;
  };
  let isClosed = false;
  const close = async () => {
    isClosed = true;
    served.close();
    connection.close();
  };
  return {
    ...(token === undefined ? caller : withBearerToken(caller, token, sendToken)),
    serve(routes) {
      if (appId === undefined) {
        throw new TypeError("Cannot serve: the option appId must say which app this is");
      }
      if (isClosed) throw new ConnectError("the transport is closed", Code.Canceled);
      return served.serve(routes);
    },
    close,
    [asyncDispose]: close,
  };
}
