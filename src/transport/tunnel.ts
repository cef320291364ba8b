/// <reference lib="esnext.disposable" preserve="true" />
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import { ConnectionStatus } from "../client/status/connection-status.js";
import type { Status } from "../client/status.js";
import type { Token } from "../client/token.js";
import { baseUrlOf } from "../lib/base-url.js";
import { asyncDispose } from "../lib/dispose.js";
import { bearer } from "../rpc/bearer-token.js";
import { withBearerToken } from "../rpc/with-bearer-token.js";
import { createDispatcher, type Dispatcher } from "../tunnel/answer/dispatcher.js";
import { createCaller } from "../tunnel/call/caller.js";
import { TunnelConnection } from "../tunnel/connection.js";
import type { OpenSocket } from "../tunnel/socket/socket.js";
import { dialWebSocket, tunnelUrl } from "../tunnel/socket/web-socket.js";
import type { TunnelLimits } from "../tunnel/wire/limits.js";
import { checkTransportNumbers } from "./option-checks.js";
import { dialShared, type TunnelWorker } from "./share.js";

/** How a tunnel is used. */
export interface TunnelTransportOptions {
  /** The app that this end is: how the server finds it to call it. Default: none, and it cannot be called. */
  appId?: string;
  /** The deadline of every call that has none of its own, in milliseconds. Default: none. */
  defaultTimeoutMs?: number;
  /** Connect's interceptors, around every call, from the outermost on. Default: none. */
  interceptors?: Interceptor[];
  /** The bearer token that this end has, or what gives one: the server is told of it before the first call, and when it changes. Default: none. */
  token?: Token;
  /**
   * After how long without a call the socket is closed, in milliseconds; the next call opens it again. Default: 60000.
   * In Node, Deno and Bun the WebSocket that this entry uses keeps the process alive as long as it is open, so it is
   * closed after 1000 there at the latest; that of `fairlead/node` can stay.
   */
  idleMs?: number;
  /** How long the socket may take to open, in milliseconds. Default: 10000. */
  dialTimeoutMs?: number;
  /**
   * Gives the SharedWorker whose script calls `shareTunnels()`: all pages of the origin then share one socket. Default:
   * a socket of its own.
   */
  sharedWorker?: () => TunnelWorker;
  /**
   * The most bytes that a message of an answer may have, more fails with `Code.ResourceExhausted`. Default: the limit
   * `messageBytes`, 67108864.
   */
  readMaxBytes?: number;
  /** What this end takes of the server. Default: as TunnelLimits says. */
  limits?: Partial<TunnelLimits>;
}

/** Something that the server calls, until it is closed. */
export interface Serving extends AsyncDisposable {
  /**
   * Resolves when the server has begun to call it; after a lost connection it does so again by itself. Rejects with
   * `Code.Canceled` where it is closed before.
   */
  readonly ready: Promise<void>;
  /** Whether the server calls it now: "connected" once it does, "disconnected" while the socket is lost. */
  readonly status: Status;
  /** Is not called any more, once the server knows. Idempotent. */
  close(): Promise<void>;
}

/** A transport over one WebSocket, on which the server can call this end too. */
export interface TunnelTransport extends Transport, AsyncDisposable {
  /**
   * Serves `routes` to the server for as long as what it returns is not closed, and keeps the socket open for that:
   * it is dialled again whenever it is lost. Several may serve beside each other.
   */
  serve(routes: (router: ConnectRouter) => void): Serving;
  /** Stops serving and closes the socket; calls under way and further ones fail with `Code.Canceled`. Idempotent. */
  close(): Promise<void>;
}

/**
 * A transport through a tunnel to the server at `url`: every kind of call, in every runtime that has WebSocket, and the
 * fastest way wherever there are many calls. Nothing is dialled before the first call.
 */
export function createTunnelTransport(url: string, options: TunnelTransportOptions = {}): TunnelTransport {
  checkOptionsOf(options);
  const { dialTimeoutMs = 10_000, appId, sharedWorker } = options;
  const idleMs = Math.min(options.idleMs ?? 60_000, isProcess ? PROCESS_IDLE_MS : Number.POSITIVE_INFINITY);
  const at = tunnelUrl(url);
  const share = { url, appId, idleMs, dialTimeoutMs };
  return createTransportOver(
    url,
    async () =>
      sharedWorker && typeof SharedWorker !== "undefined"
        ? dialShared(sharedWorker(), share)
        : dialWebSocket(at, dialTimeoutMs),
    { ...options, idleMs },
  );
}

/** Checks what only shows itself when it is too late. */
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

/** A browser's page and a worker end whatever is open. */
const isProcess = Boolean(
  (globalThis as { process?: { versions?: { node?: string } } }).process?.versions?.node,
);

const PROCESS_IDLE_MS = 1000;

/** A tunnel over the sockets that `dial` opens. */
export function createTransportOver(
  url: string,
  dial: () => Promise<OpenSocket>,
  options: TunnelTransportOptions = {},
): TunnelTransport {
  checkOptionsOf(options);
  const { appId, defaultTimeoutMs, interceptors = [], token, idleMs = 60_000, limits } = options;
  const baseUrl = baseUrlOf(url);
  const served = new Set<(router: ConnectRouter) => void>();
  let dispatcher: Dispatcher = createDispatcher(() => {});
  let offers = 0;
  /** What is served, with the number of its offer, and what ends it. */
  const servings = new Set<{
    offer: number;
    ready: () => void;
    status: ConnectionStatus;
    end: () => Promise<void>;
  }>();
  let isClosed = false;
  let authorization: string | undefined;
  /** The token that the other end knows, and the one that it would not have. */
  let known: string | undefined;
  let refused: string | undefined;

  const lost = (error: ConnectError): void => {
    for (const { status } of servings) status.disconnected(error);
  };

  /** Tells the other end who this is, unless it knows. */
  const identify = (text: string): void => {
    const fresh = bearer(text);
    if (fresh === authorization) return;
    authorization = fresh;
    known = text;
    line.session?.sendSettings({ authorization });
  };
  const line = new TunnelConnection({
    dial,
    host: new URL(baseUrl).host,
    limits,
    idleMs,
    prepare: async () => {
      if (token === undefined) return;
      const text = typeof token === "string" ? token : await token(refused);
      refused = undefined;
      known = text;
      authorization = bearer(text);
    },
    identity: () => ({
      ...(appId !== undefined && { appId }),
      ...(authorization !== undefined && { authorization }),
      ...(served.size > 0 && { offer: offers }),
    }),
    onSettings: ({ calledOffer: called }) => {
      // A worker says so of the socket that it shares.
      if (called === 0) return lost(new ConnectError("the shared tunnel was lost", Code.Unavailable));
      for (const { offer, ready, status } of servings) {
        if (offer > (called ?? 0)) continue;
        status.connected();
        ready();
      }
    },
    onLost: lost,
    onRefused: () => {
      refused = known;
    },
    answer:
      (session) =>
      (...call) =>
        dispatcher.on(session)(...call),
  });
  const offer = () => {
    dispatcher = createDispatcher((router) => {
      for (const routes of served) routes(router);
    });
    offers++;
    line.keepOpen(served.size > 0);
    line.session?.sendSettings({ offer: served.size > 0 ? offers : 0 });
  };
  const caller = createCaller(line, {
    interceptors,
    defaultTimeoutMs,
    messageBytes: options.readMaxBytes ?? limits?.messageBytes,
    baseUrl,
  });
  const transport =
    token === undefined
      ? caller
      : withBearerToken(caller, token, (header, text) => {
          identify(text);
          return header;
        });
  const close = async () => {
    isClosed = true;
    for (const { end } of servings) void end();
    line.close();
  };
  return {
    ...transport,
    serve(routes) {
      if (appId === undefined) {
        throw new TypeError("Cannot serve through the tunnel: its option appId must say which app this is");
      }
      if (isClosed) throw new ConnectError("the transport is closed", Code.Canceled);
      served.add(routes);
      offer();
      const status = new ConnectionStatus().begin();
      let end = async () => {};
      const ready = new Promise<void>((resolve, reject) => {
        // The server answers an offer that is made again, where the socket has outlived the change.
        const stop = status.onNetworkChange(offer);
        const serving = { offer: offers, ready: resolve, status, end: () => end() };
        servings.add(serving);
        end = async () => {
          if (!servings.delete(serving)) return;
          stop();
          status.close();
          served.delete(routes);
          offer();
          reject(new ConnectError("it is not served any more", Code.Canceled));
        };
      });
      // Who does not wait for it need not know.
      ready.catch(() => {});
      return { ready, status, close: end, [asyncDispose]: end };
    },
    close,
    [asyncDispose]: close,
  };
}
