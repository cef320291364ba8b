import type { IncomingMessage } from "node:http";
import type { SecureContextOptions } from "node:tls";
import { WebSocket } from "ws";
import { isLoopback } from "../../lib/loopback.js";
import { SUBPROTOCOL } from "../wire/frame.js";
import { CLOSE_CODE } from "../wire/protocol-error.js";
import { LOW_WATER, type OpenSocket } from "./socket.js";
import { PROXY_ADVICE } from "./web-socket.js";

/** The most bytes of one WebSocket message that is taken: what leaves in one is far less. */
export const MAX_WS_MESSAGE_BYTES = 1024 * 1024;

/** Opens a WebSocket with `ws`. Rejects with what is known of why not. */
export function dialWs(url: string, timeoutMs: number, tls: SecureContextOptions = {}): Promise<OpenSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, SUBPROTOCOL, {
      ...tls,
      handshakeTimeout: timeoutMs,
      perMessageDeflate: false,
      maxPayload: MAX_WS_MESSAGE_BYTES,
      ...(isDirect(url) && { generateMask: noMask }),
    });
    let answer: IncomingMessage | undefined;
    socket.once("upgrade", (response) => {
      answer = response;
    });
    socket.once("unexpected-response", (_request, response) => {
      void refusal(response).then((error) => {
        reject(error);
        socket.terminate();
      });
    });
    socket.once("error", reject);
    socket.once("open", () => {
      socket.removeListener("error", reject);
      resolve(overWs(socket, answer?.socket));
    });
  });
}

/** An answer of another status than 101 is read so far, in bytes and in milliseconds. */
const MOST_REFUSAL_BYTES = 300;
const MOST_REFUSAL_MS = 1000;

/** Says who answered instead of opening the WebSocket, and which proxies do so. */
async function refusal(response: IncomingMessage): Promise<Error> {
  const { statusCode = 0, headers } = response;
  let text = "";
  const late = setTimeout(() => response.destroy(), MOST_REFUSAL_MS);
  try {
    for await (const bytes of response) {
      text += bytes;
      if (text.length > MOST_REFUSAL_BYTES) break;
    }
  } catch {
    // The status tells enough.
  }
  clearTimeout(late);
  const isPlain = headers["content-type"]?.startsWith("text/plain");
  const said = isPlain && text ? `: ${text.slice(0, MOST_REFUSAL_BYTES).trim()}` : "";
  const by = headers.server ? ` by ${headers.server.slice(0, 100)}` : "";
  const advice = PROXY_STATUSES.has(statusCode) ? `; ${PROXY_ADVICE}` : "";
  return new Error(`the WebSocket was answered with HTTP ${statusCode}${by}${said}${advice}`);
}

/** The statuses of proxies that do not pass the upgrade on, or have no answer from where they passed it. */
const PROXY_STATUSES: ReadonlySet<number> = new Set([200, 400, 404, 405, 426, 501, 502, 503, 504]);

/**
 * Whether nothing stands between the two ends that could take a part of a message for HTTP, which is all that masks are
 * for: nobody reads what is encrypted, and nobody stands within one machine.
 */
function isDirect(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === "wss:" || isLoopback(hostname);
}

/** Zeros: `ws` then neither copies what it sends nor goes through what it receives. */
const noMask = (mask: Buffer): void => void mask.fill(0);

/** A socket of `ws` that is open; `held` is what keeps the process alive, where that is to depend on its use. */
export function overWs(socket: WebSocket, held?: { ref(): void; unref(): void }): OpenSocket {
  // Its close tells more, and comes as well.
  socket.on("error", () => {});
  // What comes before anyone listens is kept: it may come with the answer to the handshake.
  let early: Uint8Array[] | undefined = [];
  let take = (bytes: Uint8Array): void => void early?.push(bytes);
  socket.on("message", (data: Buffer, isBinary) => {
    if (isBinary) take(new Uint8Array(data.buffer, data.byteOffset, data.length));
    else socket.close(CLOSE_CODE.protocolError, "a message is text: all of this protocol is binary");
  });
  return (events) => {
    take = events.onMessage;
    for (const bytes of early ?? []) queueMicrotask(() => events.onMessage(bytes));
    early = undefined;
    socket.on("close", (code, reason) => events.onClosed(code, reason.toString()));
    const sent = () => {
      if (socket.bufferedAmount <= LOW_WATER) events.onDrained();
    };
    return {
      send(message, free) {
        if (socket.readyState !== WebSocket.OPEN) return;
        socket.send(message, BINARY, () => {
          free();
          sent();
        });
      },
      get bufferedBytes() {
        return socket.bufferedAmount;
      },
      keepProcessAlive(busy) {
        if (busy) held?.ref();
        else held?.unref();
      },
      close(code, reason) {
        socket.close(code, reason);
        // One that does not answer is not waited for.
        const cut = setTimeout(() => socket.terminate(), CLOSE_MS);
        cut.unref();
        socket.once("close", () => clearTimeout(cut));
      },
    };
  };
}

const CLOSE_MS = 2000;

const BINARY = { binary: true };
