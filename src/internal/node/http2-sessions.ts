import type { SecureContextOptions } from "node:tls";
import { Http2SessionManager } from "@connectrpc/connect-node";
import { mendGrpcMessage } from "./grpc-message.js";
import { tellOfNoHttp2 } from "./no-http2.js";
import { NO_BOUND_MB } from "./session-memory.js";
import { openWindow, WINDOW_BYTES } from "./window.js";

/** A connection with calls under way that is silent for so long is asked for a sign of life, which may take so long. */
const PING = { pingIntervalMs: 25_000, pingTimeoutMs: 10_000 };

/**
 * Connect's connections to `url`, with two things mended. A stream over a connection that has vanished without a word
 * fails once a ping is not answered. And a call that is given up resets its stream and does nothing else: Node's own
 * `close(code)` ends the request first, and a server that reads no further takes an upload cut short for whole. `advice`
 * is for those whose server speaks no HTTP/2.
 */
export function http2Sessions(
  url: string,
  {
    ping = PING,
    tls,
    advice = "",
  }: { ping?: typeof PING; tls?: SecureContextOptions | undefined; advice?: string } = {},
): Http2SessionManager {
  const settings = { initialWindowSize: WINDOW_BYTES };
  const sessions = new Http2SessionManager(url, ping, { ...tls, settings, maxSessionMemory: NO_BOUND_MB });
  const { request } = sessions;
  const opened = new WeakSet<object>();
  sessions.request = async (...args) => {
    const stream = await request.apply(sessions, args);
    const { close, session } = stream;
    if (session && !opened.has(session)) {
      opened.add(session);
      openWindow(session);
    }
    stream.on("response", mendGrpcMessage).on("trailers", mendGrpcMessage);
    stream.close = (code, callback) => {
      if (code) stream.end = () => stream;
      close.call(stream, code, callback);
    };
    return stream;
  };
  tellOfNoHttp2(sessions, url, advice);
  return sessions;
}
