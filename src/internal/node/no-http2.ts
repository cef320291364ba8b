import type { Http2Session } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Http2SessionManager } from "@connectrpc/connect-node";

/**
 * Mends what becomes of calls to a port that does not speak HTTP/2: they fail as `unavailable` and say so, with
 * `advice`. Node's own session reports a "Protocol error" twice, of which the second one, heard by no one, would end the
 * process.
 */
export function tellOfNoHttp2(sessions: Http2SessionManager, url: string, advice: string): void {
  const { request } = sessions;
  const { host } = new URL(url);
  /** The sessions that calls were made by, and whether the other side has said anything of HTTP/2. */
  const known = new WeakMap<Http2Session, { answered: boolean }>();
  const watch = (session: Http2Session): { answered: boolean } => {
    let state = known.get(session);
    if (!state) {
      known.set(session, (state = { answered: false }));
      session.once("remoteSettings", () => {
        if (state) state.answered = true;
      });
      session.on("error", () => {});
    }
    return state;
  };
  const told = (error: unknown) =>
    new ConnectError(`${host} speaks no HTTP/2${advice}`, Code.Unavailable, undefined, undefined, error);

  sessions.request = async (...args) => {
    const stream = await request.apply(sessions, args).catch((error: unknown) => {
      throw hasCode(error, "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL") ? told(error) : error;
    });
    const state = stream.session && watch(stream.session);
    const { destroy } = stream;
    stream.destroy = (error) => {
      const isForeign = error && !state?.answered && hasCode(error, "ERR_HTTP2_ERROR");
      return destroy.call(stream, isForeign ? told(error) : error);
    };
    return stream;
  };
}

/** Whether the error, or what Connect has wrapped into it, is the one that Node calls `code`. */
function hasCode(error: unknown, code: string): boolean {
  if (!(error instanceof Error)) return false;
  return (error as NodeJS.ErrnoException).code === code || hasCode(error.cause, code);
}
