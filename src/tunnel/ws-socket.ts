import type { IncomingMessage } from "node:http";
import type { SecureContextOptions } from "node:tls";
import { WebSocket } from "ws";
import { isLoopback } from "../internal/loopback.js";
import { CLOSE } from "./fault.js";
import { SUBPROTOCOL } from "./frame.js";
import { LOW_WATER, type OpenSocket } from "./socket.js";

/** The most bytes of one WebSocket message that is taken: what leaves in one is far less. */
export const MOST_MESSAGE_BYTES = 1024 * 1024;

/** Opens a WebSocket with `ws`. Rejects with what is known of why not. */
export function dialWs(url: string, timeoutMs: number, tls: SecureContextOptions = {}): Promise<OpenSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, SUBPROTOCOL, {
      ...tls,
      handshakeTimeout: timeoutMs,
      perMessageDeflate: false,
      maxPayload: MOST_MESSAGE_BYTES,
      ...(isDirect(url) && { generateMask: noMask }),
    });
    let answer: IncomingMessage | undefined;
    socket.once("upgrade", (response) => {
      answer = response;
    });
    socket.once("error", reject);
    socket.once("open", () => {
      socket.removeListener("error", reject);
      resolve(overWs(socket, answer?.socket));
    });
  });
}

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
    else socket.close(CLOSE.broken, "a message is text: all of this protocol is binary");
  });
  return (events) => {
    take = events.message;
    for (const bytes of early ?? []) queueMicrotask(() => events.message(bytes));
    early = undefined;
    socket.on("close", (code, reason) => events.closed(code, reason.toString()));
    const sent = () => {
      if (socket.bufferedAmount <= LOW_WATER) events.drained();
    };
    return {
      send(message, free) {
        if (socket.readyState !== WebSocket.OPEN) return;
        socket.send(message, BINARY, () => {
          free();
          sent();
        });
      },
      get buffered() {
        return socket.bufferedAmount;
      },
      hold(busy) {
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
