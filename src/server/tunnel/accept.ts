import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ConnectRouterOptions,
  createContextValues,
  type Interceptor,
} from "@connectrpc/connect";
import { quote } from "../../lib/quote.js";
import { runAfter } from "../../lib/timer.js";
import type { ArrivedCall } from "../../rpc/dispatch/served-method.js";
import { REQUEST_ID_HEADER, SERVER_HEADER } from "../../rpc/extension-headers.js";
import { unchangedError } from "../../rpc/with-error-mapping.js";
import { createDispatcher } from "../../tunnel/answer/dispatcher.js";
import { createCaller } from "../../tunnel/call/caller.js";
import { StallWatch } from "../../tunnel/flow/stall-watch.js";
import type { PeerSettings } from "../../tunnel/session/peer.js";
import { Session } from "../../tunnel/session.js";
import type { OpenSocket } from "../../tunnel/socket/socket.js";
import { CLOSE_CODE } from "../../tunnel/wire/protocol-error.js";
import { type Access, subjectOf } from "../access/gate.js";
import { type Admission, type Connection, connectionKey, type GroupOf } from "../calls/admission.js";
import { ConnectionUse } from "../calls/connection-use.js";
import { toAnswerError, VERSION } from "../calls/error-mapping.js";
import { malformed } from "../calls/malformed.js";
import type { Calls } from "../calls/observe.js";
import { givenUp } from "../calls/shares.js";
import { noUsage } from "../calls/usage.js";
import { checkName } from "../calls/validate.js";
import type { Limits } from "../config/config.js";
import type { ServiceContext } from "../context.js";
import type { HostCheck } from "../http/host-check.js";
import { joinApp } from "../services/pubsub/apps.js";
import { topicOf } from "../services/pubsub/delivery.js";

/** Where a socket comes from: what its request said. */
export interface TunnelOrigin {
  /** The `Origin` header: browsers send it, others seldom do. */
  readonly origin?: string | null | undefined;
  /** The `Host` header, which is the origin of the server's own pages. */
  readonly host?: string | null | undefined;
  /** What its calls have in common with others of the connection. Default: a connection of its own. */
  readonly connection?: Connection;
}

/** Takes sockets that others have dialled, on any door that has them. */
export interface Tunnels {
  /** Serves a socket until it is closed; one from a page that may not call is closed, with the reason. */
  accept(open: OpenSocket, from?: TunnelOrigin): void;
  /** Those that are open. */
  readonly sessions: ReadonlySet<{ close(code: number, reason: string): void }>;
  /** Takes no more calls by any of them; each is closed with the last of its calls. */
  leave(): void;
  /** Closes all of them at once. */
  close(): void;
}

export interface TunnelsAround {
  readonly routes: (router: ConnectRouter) => void;
  readonly options: ConnectRouterOptions;
  readonly calls: Calls;
  readonly admission: Admission;
  readonly groupOf: GroupOf;
  readonly access: Access;
  readonly check: HostCheck;
  /** Around every call to an app that dialled in. */
  readonly clientInterceptors: readonly Interceptor[];
}

/** Tunnels to the services of a server: each call passes the gates that calls over HTTP pass. */
export function createTunnels(
  context: ServiceContext,
  { routes, options, calls, admission, groupOf, access, check, clientInterceptors }: TunnelsAround,
): Tunnels {
  const { limits, log } = context;
  const dispatcher = createDispatcher(routes, { router: options, malformed });
  const sessions = new Set<Session>();
  let isLeaving = false;

  const admitTo = (session: () => Session, origin: string | null | undefined, connection: Connection) =>
    function admit(arrived: ArrivedCall) {
      const { method, path, header } = arrived;
      const { authorization } = session().peer;
      if (authorization !== undefined && !header.has("authorization"))
        header.set("authorization", authorization);
      // What a page says of itself is what its browser said.
      if (origin) header.set("origin", origin);
      const values = createContextValues();
      const isStream = method.methodKind !== "unary";
      const { id, ended } = calls.begin(
        { method: path.slice(1), protocol: "tunnel", isStream },
        header,
        values,
      );
      const refused = (error: unknown): ConnectError => {
        const refusal = toAnswerError(error, arrived.signal, { reqId: id, method: path.slice(1) }, log);
        refusal.metadata.set(SERVER_HEADER, VERSION);
        refusal.metadata.set(REQUEST_ID_HEADER, id);
        ended(refusal.code);
        return refusal;
      };
      try {
        const usage = admission.enter({ method, header }, connection, groupOf);
        usage.path = path;
        arrived.usage = usage;
        admission.note(values, usage);
        const admitted = {
          values: values.set(connectionKey, connection),
          header: [[REQUEST_ID_HEADER, id]] as const,
          onEnd(code: number) {
            usage.close();
            ended(code as Code | 0);
          },
        };
        const letIn = () => {
          admission.identified(usage, subjectOf(values));
          return admitted;
        };
        const closed = (error: unknown): never => {
          usage.close();
          throw error;
        };
        try {
          const asked = access.admit(method, header, values);
          return asked
            ? asked
                .then(letIn)
                .catch(closed)
                .catch((error) => {
                  throw refused(error);
                })
            : letIn();
        } catch (error) {
          return closed(error);
        }
      } catch (error) {
        throw refused(error);
      }
    };

  const accept: Tunnels["accept"] = (
    open,
    { origin, host, connection = { usage: noUsage(), isExtra: false } } = {},
  ) => {
    let guest: { end(): void } | undefined;
    let offers = 0;
    let appId: string | undefined;
    const callsUse = new ConnectionUse(connection);
    const guestUses = new ConnectionUse(connection, { isIdentified: true });
    const stalls = new StallWatch(
      limits.stalledMs,
      () => session.bufferedBytes,
      (stream) => {
        log.warn({ method: stream.usage?.path.slice(1), connection: "tunnel" }, givenUp(limits));
        session.reset(stream, Code.Unavailable);
        stream.events.onError(new ConnectError(givenUp(limits), Code.Unavailable));
      },
    );
    const session: Session = new Session(open, {
      isDialler: false,
      limits: {
        calls: limits.connectionStreams,
        // Above the limit, so that the server refuses a call itself, with its reason.
        headerBytes: limits.headerBytes + 64 * 1024,
        messageBytes: limits.messageBytes,
        pingMs: limits.pingMs,
        pingTimeoutMs: limits.pingTimeoutMs,
        // A client asks sooner where it depends on the server.
        activePingMs: limits.pingMs,
        activePingTimeoutMs: limits.pingTimeoutMs,
      },
      checkMessage: admission.checkMessage,
      onArriving: (change, stream) => stream.usage?.addArriving(change),
      onLeaving(change, stream) {
        stream.usage?.addLeaving(change);
        stalls.update(stream, change);
      },
      answer: dispatcher.on(() => session, { admit: admitTo(() => session, origin, connection) }),
      onSettings(peer) {
        const flaw = flawOf(peer, appId, limits);
        if (flaw !== undefined) return session.close(CLOSE_CODE.refused, flaw);
        appId = peer.appId;
        if (peer.appId === undefined || (peer.offer ?? 0) === offers) return;
        offers = peer.offer ?? 0;
        guest?.end();
        guest = offers === 0 ? undefined : visitOf(session, peer);
        guestUses.set(guest !== undefined);
      },
      onBusy(busy) {
        callsUse.set(busy);
        if (!busy && isLeaving) session.close(CLOSE_CODE.normal, "the server is closing");
      },
      onClosed() {
        guest?.end();
        stalls.stop();
        sessions.delete(session);
      },
    });
    sessions.add(session);
    connection.close = () => {
      // What the other end has begun meanwhile, it sends again elsewhere.
      session.sendGoaway("nothing uses the tunnel");
      session.close(CLOSE_CODE.normal, "nothing uses the tunnel");
    };
    const refusal =
      check({ host: host ?? undefined, origin })?.error.rawMessage ??
      (connection.isExtra ? "too many connections" : undefined);
    if (refusal !== undefined) session.close(CLOSE_CODE.refused, refusal);
    else if (isLeaving) session.close(CLOSE_CODE.normal, "the server is closing");
  };

  /** Calls the app at the other end, for as long as it is there and offers the same. */
  const visitOf = (session: Session, { appId = "", authorization, offer: offers = 0 }: PeerSettings) => {
    const over = new AbortController();
    let leave = () => {};
    let callOff = () => {};
    const end = () => {
      over.abort();
      leave();
      callOff();
    };
    // It may come back with another one: its line is dialled again.
    const expire = () => {
      end();
      session.close(CLOSE_CODE.refused, `the token of the app ${quote(appId)} has expired`);
    };
    const begin = async () => {
      const { mayRead, expiresAtMs } = await access.admitApp(appId, authorization ?? null);
      if (over.signal.aborted) return;
      if (expiresAtMs !== undefined) callOff = runAfter(expiresAtMs - Date.now(), expire);
      const transport = createCaller(session, {
        messageBytes: limits.messageBytes,
        interceptors: clientInterceptors,
      });
      leave = await context.apps.add(appId, transport);
      if (over.signal.aborted) return leave();
      session.sendSettings({ calledOffer: offers });
      await joinApp(context, appId, transport, AbortSignal.any([over.signal, context.closing]), {
        mayRead,
        onSubscriptions: (subscriptions) =>
          context.apps.follows(
            appId,
            subscriptions.map(({ pubsub, topic, group }) => ({ topic: topicOf(pubsub, topic), group })),
          ),
        readError: unchangedError,
      });
    };
    begin().catch((error: ConnectError) => {
      log.warn({ app: appId, err: error }, "an app that dialled in is not served");
      if (!over.signal.aborted) session.close(CLOSE_CODE.refused, error.message);
    });
    return { end };
  };

  return {
    accept,
    sessions,
    leave() {
      isLeaving = true;
      for (const session of sessions) {
        session.sendGoaway("the server is closing");
        if (session.isIdle) session.close(CLOSE_CODE.normal, "the server is closing");
      }
    },
    close() {
      for (const session of sessions) session.close(CLOSE_CODE.normal, "the server is closing");
    },
  };
}

/** What is wrong with what an end says of itself, before anything is done with it; undefined: nothing. */
function flawOf(
  { appId, authorization = "" }: PeerSettings,
  before: string | undefined,
  limits: Limits,
): string | undefined {
  const { headerBytes } = limits;
  if (authorization.length > headerBytes)
    return `limit headerBytes ${headerBytes}: the authorization has ${authorization.length} characters`;
  if (appId === undefined || appId === before) return undefined;
  if (before !== undefined) return `appId ${quote(appId)}: must stay ${quote(before)}`;
  try {
    checkName("appId", appId, limits);
    return undefined;
  } catch (error) {
    return (error as ConnectError).rawMessage;
  }
}
