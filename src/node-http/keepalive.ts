import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { runAfter } from "../lib/timer.js";
import { unsentBytes } from "./unsent.js";

/** When an HTTP/2 connection counts as lost, in milliseconds. */
export interface KeepaliveOptions {
  /** The silence on a connection in use after which its client gets a PING. */
  pingMs: number;
  /** How long the client may send nothing after that. */
  pingTimeoutMs: number;
  /** How long the first SETTINGS may take, and the answer to a PING if the client sends other bytes. */
  headersTimeoutMs: number;
}

/**
 * Calls `onLost` with the reason if the client of a connection has vanished, or does not end a header block. A busy or
 * slow client is kept: sending bytes, or receiving bytes that had to wait, counts as an answer.
 */
export function keepAlive(
  session: ServerHttp2Session,
  { isIdle, socket }: { isIdle: () => boolean; socket: Socket },
  { pingMs, pingTimeoutMs, headersTimeoutMs }: KeepaliveOptions,
  onLost: (why: string) => void,
): void {
  const stepMs = Math.min(pingMs, pingTimeoutMs, headersTimeoutMs) / 4;
  let bytesRead = 0;
  let unsent = 0;
  // Counted in steps: time in which this process was suspended is no silence of the client.
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

  /** The reason why the connection is lost; undefined: it seems to be alive. */
  const reason = (): string | undefined => {
    if (!hasSettings) return unansweredMs >= headersTimeoutMs ? "its client sent no SETTINGS" : undefined;
    if (pingedMs === undefined) return undefined;
    if (pingedMs >= pingTimeoutMs && silentMs >= pingTimeoutMs) {
      return `its client was silent for ${Math.round(silentMs)} ms and answered no PING`;
    }
    // Within a header block a client cannot answer a PING either.
    if (pingedMs < headersTimeoutMs) return undefined;
    return `its client sends, and answered no PING for ${Math.round(pingedMs)} ms: a header block that does not end`;
  };

  const check = () => {
    silentMs += stepMs;
    unansweredMs += stepMs;
    if (pingedMs !== undefined) pingedMs += stepMs;
    // Bytes that the kernel accepts at once say nothing about the client.
    const isReceiving = unsent > 0 && unsentBytes(socket) !== unsent;
    if (isReceiving || socket.bytesRead !== bytesRead) silentMs = 0;
    bytesRead = socket.bytesRead;
    unsent = unsentBytes(socket);
    const why = reason();
    if (why !== undefined) return onLost(why);
    const isDue = unansweredMs >= headersTimeoutMs || (silentMs >= pingMs && !isIdle());
    if (hasSettings && pingedMs === undefined && isDue) ping();
    stop = runAfter(stepMs, check);
  };

  let stop = runAfter(stepMs, check);
  session.once("close", () => stop());
}
