import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { after } from "../timer.js";
import { unsentBytes } from "./unsent.js";

/** When an HTTP/2 connection counts as lost, in milliseconds. */
export interface KeepaliveOptions {
  /** After how much silence on a connection that is in use its client is asked for a sign of life, by a PING. */
  pingMs: number;
  /** How long the client may say nothing after that. */
  pingTimeoutMs: number;
  /** How long the first SETTINGS may take, and the answer to a PING of a client that does send something. */
  headersTimeoutMs: number;
}

/**
 * Finds connections whose client has vanished, or began a header block that it does not end: `lost` is told why. A
 * client that is only busy or slow is kept: what it sends is a sign of life, and so is that it takes what had to wait.
 */
export function keepAlive(
  session: ServerHttp2Session,
  { isIdle, socket }: { isIdle: () => boolean; socket: Socket },
  { pingMs, pingTimeoutMs, headersTimeoutMs }: KeepaliveOptions,
  lost: (why: string) => void,
): void {
  let bytesRead = 0;
  let unsent = 0;
  let heardAtMs = performance.now();
  let answeredAtMs = heardAtMs;
  let askedAtMs: number | undefined;
  let hasSettings = false;
  session.once("remoteSettings", () => {
    hasSettings = true;
  });

  const ask = () => {
    askedAtMs = performance.now();
    session.ping((error) => {
      if (error) return;
      askedAtMs = undefined;
      answeredAtMs = heardAtMs = performance.now();
    });
  };

  /** Why the connection is lost; undefined: it is not, as far as can be seen. */
  const reason = (nowMs: number): string | undefined => {
    const silentMs = nowMs - heardAtMs;
    if (!hasSettings) {
      return nowMs - answeredAtMs >= headersTimeoutMs ? "its client sent no SETTINGS" : undefined;
    }
    if (askedAtMs === undefined) return undefined;
    const waitedMs = nowMs - askedAtMs;
    if (waitedMs >= pingTimeoutMs && silentMs >= pingTimeoutMs) {
      return `its client was silent for ${Math.round(silentMs)} ms and answered no PING`;
    }
    // Within a header block nothing else can be sent, no answer to a PING either.
    if (waitedMs < headersTimeoutMs) return undefined;
    return `its client sends, and answered no PING for ${Math.round(waitedMs)} ms: a header block that does not end`;
  };

  const look = () => {
    const nowMs = performance.now();
    // What the kernel takes at once says nothing of the client.
    const takes = unsent > 0 && unsentBytes(socket) !== unsent;
    if (takes || socket.bytesRead !== bytesRead) heardAtMs = nowMs;
    bytesRead = socket.bytesRead;
    unsent = unsentBytes(socket);
    const why = reason(nowMs);
    if (why !== undefined) return lost(why);
    const isQuiet = nowMs - heardAtMs >= pingMs && !isIdle();
    const isDue = nowMs - answeredAtMs >= headersTimeoutMs;
    if (hasSettings && askedAtMs === undefined && (isQuiet || isDue)) ask();
    stop = after(stepMs, look);
  };

  const stepMs = Math.min(pingMs, pingTimeoutMs, headersTimeoutMs) / 4;
  let stop = after(stepMs, look);
  session.once("close", () => stop());
}
