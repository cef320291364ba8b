import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { quote } from "../../lib/quote.js";
import type { Dispatcher } from "../../tunnel/answer/dispatcher.js";
import { StallWatch } from "../../tunnel/flow/stall-watch.js";
import type { PeerSettings } from "../../tunnel/session/peer.js";
import { Session } from "../../tunnel/session.js";
import type { OpenSocket } from "../../tunnel/socket/socket.js";
import { CLOSE_CODE } from "../../tunnel/wire/protocol-error.js";
import { type Connection, ConnectionUse } from "../calls/connection.js";
import { stalledMessage } from "../calls/log.js";
import type { CallPipeline } from "../calls/pipeline.js";
import { checkName } from "../calls/validate/field-rules.js";
import type { Limits } from "../config/config.js";
import type { ServiceContext } from "../context.js";
import { AppSession } from "./app-session.js";
import { admitTunnelCalls } from "./call-admission.js";

export interface ServerSessionOptions {
  readonly context: ServiceContext;
  readonly pipeline: CallPipeline;
  readonly dispatcher: Dispatcher;
  readonly clientInterceptors: readonly Interceptor[];
  readonly origin: string | null | undefined;
  readonly connection: Connection;
  /** Runs when the last call under way has ended. */
  onIdle(session: Session): void;
  onClosed(session: Session): void;
}

/** Serves the calls of one tunnel, and calls the app at its other end if it offers services. */
export function openSession(open: OpenSocket, options: ServerSessionOptions): Session {
  const { context, pipeline, dispatcher, origin, connection } = options;
  const { limits, log } = context;
  const callsUse = new ConnectionUse(connection);
  const updateApp = appUpdater(options);
  const stalls = new StallWatch(
    limits.stalledMs,
    () => session.bufferedBytes,
    (stream) => {
      const message = stalledMessage(limits);
      log.warn({ method: stream.usage?.path.slice(1), connection: "tunnel" }, message);
      session.reset(stream, Code.Unavailable);
      stream.events.onError(new ConnectError(message, Code.Unavailable));
    },
  );
  const session: Session = new Session(open, {
    isDialler: false,
    limits: sessionLimits(limits),
    checkMessage: pipeline.admission.checkMessage,
    onArriving: (change, stream) => stream.usage?.addArriving(change),
    onLeaving(change, stream) {
      stream.usage?.addLeaving(change);
      stalls.update(stream, change);
    },
    answer: dispatcher.on(() => session, {
      admit: admitTunnelCalls({ admit: pipeline.admit, session: () => session, origin, connection }),
    }),
    onSettings: (peer) => updateApp(session, peer),
    onBusy(isBusy) {
      callsUse.set(isBusy);
      if (!isBusy) options.onIdle(session);
    },
    onClosed() {
      updateApp(session, undefined);
      stalls.stop();
      options.onClosed(session);
    },
  });
  connection.close = () => {
    // The other end makes again elsewhere the calls that it has begun meanwhile.
    session.sendGoaway("nothing uses the tunnel");
    session.close(CLOSE_CODE.normal, "nothing uses the tunnel");
  };
  return session;
}

const sessionLimits = ({ connectionStreams, headerBytes, messageBytes, pingMs, pingTimeoutMs }: Limits) => ({
  calls: connectionStreams,
  // Above the limit, so that the server refuses a call itself, with its reason.
  headerBytes: headerBytes + 64 * 1024,
  messageBytes,
  pingMs,
  pingTimeoutMs,
  // Clients ping sooner while they have calls, the server does not.
  activePingMs: pingMs,
  activePingTimeoutMs: pingTimeoutMs,
});

/** Follows the settings of the other end: begins to call its app, and ends when it offers something else, or closes. */
function appUpdater({ context, pipeline, clientInterceptors, connection }: ServerSessionOptions) {
  const appUse = new ConnectionUse(connection, { isIdentified: true });
  let app: AppSession | undefined;
  let offer = 0;
  let appId: string | undefined;
  return (session: Session, peer: PeerSettings | undefined): void => {
    if (!peer) {
      app?.end();
      return;
    }
    const problem = problemOf(peer, appId, context.limits);
    if (problem !== undefined) {
      session.close(CLOSE_CODE.refused, problem);
      return;
    }
    appId = peer.appId;
    if (peer.appId === undefined || (peer.offer ?? 0) === offer) return;
    offer = peer.offer ?? 0;
    app?.end();
    const options = { context, access: pipeline.access, clientInterceptors };
    app = offer === 0 ? undefined : new AppSession(session, peer, options);
    appUse.set(app !== undefined);
  };
}

/** The reason to refuse the settings of the other end, before they have any effect; undefined: there is none. */
function problemOf(
  { appId, authorization = "" }: PeerSettings,
  previousAppId: string | undefined,
  limits: Limits,
): string | undefined {
  const { headerBytes } = limits;
  if (authorization.length > headerBytes)
    return `limit headerBytes ${headerBytes}: the authorization has ${authorization.length} characters`;
  if (appId === undefined || appId === previousAppId) return undefined;
  if (previousAppId !== undefined) return `appId ${quote(appId)}: must stay ${quote(previousAppId)}`;
  try {
    checkName("appId", appId, limits);
    return undefined;
  } catch (error) {
    return (error as ConnectError).rawMessage;
  }
}
