import type { ConnectRouter, Interceptor } from "@connectrpc/connect";
import { LazyHeaders } from "../../rpc/lazy-headers.js";
import { createDispatcher } from "../../tunnel/answer/dispatcher.js";
import type { Session } from "../../tunnel/session.js";
import type { OpenSocket } from "../../tunnel/socket/socket.js";
import { CLOSE_CODE } from "../../tunnel/wire/protocol-error.js";
import type { Connection } from "../calls/connection.js";
import { malformed } from "../calls/malformed.js";
import type { CallPipeline } from "../calls/pipeline.js";
import { noUsage } from "../calls/usage.js";
import type { ServiceContext } from "../context.js";
import type { HostCheck } from "../http/host-check.js";
import { openSession } from "./server-session.js";

/** The request that opened a socket. */
export interface TunnelOrigin {
  /** Its `Origin` header: browsers send one, other clients seldom do. */
  readonly origin?: string | null | undefined;
  /** Its `Host` header: pages of the same host may call. */
  readonly host?: string | null | undefined;
  /** The connection, if it is counted. Default: one of its own. */
  readonly connection?: Connection;
}

/** Accepts sockets that clients have opened, at every entry point that has WebSockets. */
export interface Tunnels {
  /** Serves a socket until it closes. Closes it with the reason if it comes from a page that may not call. */
  accept(open: OpenSocket, from?: TunnelOrigin): void;
  /** The open tunnels. */
  readonly sessions: ReadonlySet<{ close(code: number, reason: string): void }>;
  /** Takes no more calls, and closes each tunnel with the last of its calls. */
  leave(): void;
  /** Closes all tunnels at once. */
  close(): void;
}

interface TunnelsOptions {
  readonly routes: (router: ConnectRouter) => void;
  readonly pipeline: CallPipeline;
  readonly check: HostCheck;
  /** The interceptors of every call to an app that dialled in. */
  readonly clientInterceptors: readonly Interceptor[];
}

const CLOSING = "the server is closing";

/** Creates the tunnels to a server's services: their calls pass the same steps as calls over HTTP. */
export function createTunnels(
  context: ServiceContext,
  { routes, pipeline, check, clientInterceptors }: TunnelsOptions,
): Tunnels {
  const dispatcher = createDispatcher(routes, {
    router: pipeline.options,
    toDecodeError: malformed,
    createHeaders: LazyHeaders.from,
  });
  const sessions = new Set<Session>();
  let isLeaving = false;
  return {
    accept(open, { origin, host, connection = { usage: noUsage(), isExtra: false } } = {}) {
      const session = openSession(open, {
        context,
        pipeline,
        dispatcher,
        clientInterceptors,
        origin,
        connection,
        onIdle: (idle) => isLeaving && idle.close(CLOSE_CODE.normal, CLOSING),
        onClosed: (closed) => void sessions.delete(closed),
      });
      sessions.add(session);
      const refusal =
        check({ host: host ?? undefined, origin })?.error.rawMessage ??
        (connection.isExtra ? "too many connections" : undefined);
      if (refusal !== undefined) session.close(CLOSE_CODE.refused, refusal);
      else if (isLeaving) session.close(CLOSE_CODE.normal, CLOSING);
    },
    sessions,
    leave() {
      isLeaving = true;
      for (const session of sessions) {
        session.sendGoaway(CLOSING);
        if (session.isIdle) session.close(CLOSE_CODE.normal, CLOSING);
      }
    },
    close() {
      for (const session of sessions) session.close(CLOSE_CODE.normal, CLOSING);
    },
  };
}
