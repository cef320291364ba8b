import type { IncomingMessage } from "node:http";
import type { SecureContextOptions } from "node:tls";
import { WebSocket } from "ws";
import { isLoopback } from "../../lib/loopback.js";
import { SUBPROTOCOL } from "../wire/frame.js";
import { CLOSE_CODE } from "../wire/protocol-error.js";
import { LOW_WATER_BYTES, type OpenSocket } from "./socket.js";
import { PROXY_ADVICE } from "./web-socket.js";

/** The most bytes of a WebSocket message that is accepted. Those that are sent are far smaller. */
export const MAX_WS_MESSAGE_BYTES = 1024 * 1024;

/** Opens a WebSocket with `ws`. Rejects with the reason. */
export function dialWs(url: string, timeoutMs: number, tls: SecureContextOptions = {}): Promise<OpenSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, SUBPROTOCOL, {
      ...tls,
      handshakeTimeout: timeoutMs,
      perMessageDeflate: false,
      maxPayload: MAX_WS_MESSAGE_BYTES,
      ...(isMaskNeedless(url) && { generateMask: zeroMask }),
    });
    let upgrade: IncomingMessage | undefined;
    socket.once("upgrade", (response) => {
      upgrade = response;
    });
    socket.once("unexpected-response", (_request, response) => {
      void refusalError(response).then((error) => {
        reject(error);
        socket.terminate();
      });
    });
    socket.once("error", reject);
    socket.once("open", () => {
      socket.removeListener("error", reject);
      resolve(overWs(socket, upgrade?.socket));
    });
  });
}

/** How much of a response with another status than 101 is read, in characters and in milliseconds. */
const MAX_REFUSAL_LENGTH = 300;
const MAX_REFUSAL_MS = 1000;

/**
 * The error for a response other than the upgrade: its status, server and text, and advice if a proxy may be the
 * cause.
 */
async function refusalError(response: IncomingMessage): Promise<Error> {
  const { statusCode = 0, headers } = response;
  let text = "";
  const timer = setTimeout(() => response.destroy(), MAX_REFUSAL_MS);
  try {
    for await (const bytes of response) {
      text += bytes;
      if (text.length > MAX_REFUSAL_LENGTH) break;
    }
  } catch {
    // The status is enough for the error.
  }
  clearTimeout(timer);
  const isText = headers["content-type"]?.startsWith("text/plain");
  const detail = isText && text ? `: ${text.slice(0, MAX_REFUSAL_LENGTH).trim()}` : "";
  const by = headers.server ? ` by ${headers.server.slice(0, 100)}` : "";
  const advice = PROXY_STATUSES.has(statusCode) ? `; ${PROXY_ADVICE}` : "";
  return new Error(`the WebSocket was answered with HTTP ${statusCode}${by}${detail}${advice}`);
}

/** The statuses of proxies that do not pass the upgrade on, or get no response to it. */
const PROXY_STATUSES: ReadonlySet<number> = new Set([200, 400, 404, 405, 426, 501, 502, 503, 504]);

/**
 * Whether masks have no use. They protect proxies that might take a part of a message for HTTP; TLS hides messages from
 * proxies, and a loopback connection has none.
 */
function isMaskNeedless(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === "wss:" || isLoopback(hostname);
}

/** A mask of zeros: `ws` then neither copies what it sends nor unmasks what it receives. */
const zeroMask = (mask: Buffer): void => void mask.fill(0);

/**
 * An open socket of `ws`. `handle`, if there is one, is referenced while the session is busy, and keeps the process
 * alive.
 */
export function overWs(socket: WebSocket, handle?: { ref(): void; unref(): void }): OpenSocket {
  // The close event follows, and has more information.
  socket.on("error", () => {});
  // Keeps messages that are received before a session listens: they may arrive with the handshake's response.
  let early: Uint8Array[] | undefined = [];
  let onMessage = (bytes: Uint8Array): void => void early?.push(bytes);
  socket.on("message", (data: Buffer, isBinary) => {
    if (isBinary) onMessage(new Uint8Array(data.buffer, data.byteOffset, data.length));
    else socket.close(CLOSE_CODE.protocolError, "a message is text: all of this protocol is binary");
  });
  return (events) => {
    onMessage = events.onMessage;
    for (const bytes of early ?? []) queueMicrotask(() => events.onMessage(bytes));
    early = undefined;
    socket.on("close", (code, reason) => events.onClosed(code, reason.toString()));
    return {
      send(message, free) {
        if (socket.readyState !== WebSocket.OPEN) return;
        socket.send(message, BINARY, () => {
          free();
          if (socket.bufferedAmount <= LOW_WATER_BYTES) events.onDrained();
        });
      },
      get bufferedBytes() {
        return socket.bufferedAmount;
      },
      keepProcessAlive(isBusy) {
        if (isBusy) handle?.ref();
        else handle?.unref();
      },
      close: (code, reason) => closeOrTerminate(socket, code, reason),
    };
  };
}

const BINARY = { binary: true };

/** How long the other end may take to answer a close, in milliseconds. */
const CLOSE_TIMEOUT_MS = 2000;

function closeOrTerminate(socket: WebSocket, code: number, reason: string): void {
  socket.close(code, reason);
  const timer = setTimeout(() => socket.terminate(), CLOSE_TIMEOUT_MS);
  timer.unref();
  socket.once("close", () => clearTimeout(timer));
}
