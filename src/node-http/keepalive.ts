import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { runAfter } from "../lib/timer.js";
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
  const stepMs = Math.min(pingMs, pingTimeoutMs, headersTimeoutMs) / 4;
  let bytesRead = 0;
  let unsent = 0;
  // Counted in steps: time in which this process stood still is no silence of the client.
  let silentMs = 0;
  let unansweredMs = 0;
  let pingedMs: number | undefined;
  let hasSettings = false;
  session.once("remoteSettings", () => {
    hasSettings = true;
  });

  const ping = () => {
    pingedMs = 0;
    session.ping((error) => {
      if (error) return;
      pingedMs = undefined;
      silentMs = unansweredMs = 0;
    });
  };

  /** Why the connection is lost; undefined: it is not, as far as can be seen. */
  const reason = (): string | undefined => {
    if (!hasSettings) return unansweredMs >= headersTimeoutMs ? "its client sent no SETTINGS" : undefined;
    if (pingedMs === undefined) return undefined;
    if (pingedMs >= pingTimeoutMs && silentMs >= pingTimeoutMs) {
      return `its client was silent for ${Math.round(silentMs)} ms and answered no PING`;
    }
    // Within a header block nothing else can be sent, no answer to a PING either.
    if (pingedMs < headersTimeoutMs) return undefined;
    return `its client sends, and answered no PING for ${Math.round(pingedMs)} ms: a header block that does not end`;
  };

  const look = () => {
    silentMs += stepMs;
    unansweredMs += stepMs;
    if (pingedMs !== undefined) pingedMs += stepMs;
    // What the kernel takes at once says nothing of the client.
    const takes = unsent > 0 && unsentBytes(socket) !== unsent;
    if (takes || socket.bytesRead !== bytesRead) silentMs = 0;
    bytesRead = socket.bytesRead;
    unsent = unsentBytes(socket);
    const why = reason();
    if (why !== undefined) return lost(why);
    const isDue = unansweredMs >= headersTimeoutMs || (silentMs >= pingMs && !isIdle());
    if (hasSettings && pingedMs === undefined && isDue) ping();
    stop = runAfter(stepMs, look);
  };

  let stop = runAfter(stepMs, look);
  session.once("close", () => stop());
}
