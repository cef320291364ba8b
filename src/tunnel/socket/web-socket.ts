import { Code, ConnectError } from "@connectrpc/connect";
import { queueMacrotask } from "../../lib/set-immediate.js";
import { SUBPROTOCOL } from "../wire/frame.js";
import { CLOSE_CODE } from "../wire/protocol-error.js";
import { LOW_WATER_BYTES, type OpenSocket, type SocketEvents } from "./socket.js";

/** The URL of the tunnel of the server at `baseUrl`. */
export const tunnelUrl = (baseUrl: string): string => baseUrl.replace(/^http/, "ws") + TUNNEL_PATH;

/** The path at which a server accepts tunnels. */
export const TUNNEL_PATH = `/${SUBPROTOCOL}`;

/** Opens a WebSocket of the runtime: browsers, workers, Deno, Bun, and Node from 22 on. Rejects with the reason. */
export function dialWebSocket(url: string, timeoutMs: number): Promise<OpenSocket> {
  if (typeof WebSocket === "undefined") return Promise.reject(noWebSocket());
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    const timer = setTimeout(() => {
      socket.close();
      reject(new Error(`no answer within ${timeoutMs} ms`));
    }, timeoutMs);
    socket.onerror = () => reject(new Error(`the WebSocket could not be opened; ${PROXY_ADVICE}`));
    socket.onclose = ({ code, reason }) => {
      clearTimeout(timer);
      reject(new Error(`the WebSocket was closed (${code}${reason && `: ${reason}`})`));
    };
    socket.onopen = () => {
      clearTimeout(timer);
      resolve(overWebSocket(socket));
    };
  });
}

/** Why a server that can be reached by other calls may have no tunnel. */
export const PROXY_ADVICE = "a proxy in between may not pass WebSockets on (see docs/proxies.md)";

const noWebSocket = (): ConnectError =>
  new ConnectError(
    "a tunnel needs WebSocket, which this runtime does not have: " +
      "on Node 20, createTunnelTransport() of fairlead/node brings one",
    Code.Unimplemented,
    undefined,
    undefined,
    new ReferenceError("WebSocket is not defined"),
  );

const OPEN = 1;

/**
 * An open WebSocket.
 *
 * @example
 * ```ts
 * import { createServer, overWebSocket } from "fairlead/server";
 *
 * const server = createServer();
 * // For a WebSocket that the runtime has accepted, for instance by Deno.upgradeWebSocket().
 * export const serve = (socket: WebSocket, { headers }: Request) =>
 *   server.tunnels.accept(overWebSocket(socket), { origin: headers.get("origin"), host: headers.get("host") });
 * ```
 */
export function overWebSocket(socket: WebSocket): OpenSocket {
  // Keeps messages that are received before a session listens.
  const early: MessageEvent[] = [];
  socket.onmessage = (event) => early.push(event);
  return (events) => {
    listen(socket, events);
    for (const event of early.splice(0)) queueMicrotask(() => socket.onmessage?.(event));
    const waitUntilDrained = drainPoller(socket, events);
    return {
      send(message, free) {
        if (socket.readyState !== OPEN) return;
        socket.send(message);
        // send() has copied the bytes.
        free();
        if (socket.bufferedAmount > LOW_WATER_BYTES) waitUntilDrained();
      },
      get bufferedBytes() {
        return socket.bufferedAmount;
      },
      // No runtime with processes lets such a socket be unreferenced.
      keepProcessAlive() {},
      close: (code, reason) =>
        socket.close(code === CLOSE_CODE.normal || code >= 3000 ? code : CLOSE_CODE.protocolError, reason),
    };
  };
}

/** Polls `bufferedAmount`, at first in each turn of the event loop: WebSocket has no event for it. */
function drainPoller(socket: WebSocket, events: SocketEvents): () => void {
  let isPolling = false;
  const poll = (turns: number) => {
    if (socket.bufferedAmount > LOW_WATER_BYTES && socket.readyState === OPEN) {
      if (turns < 100) queueMacrotask(() => poll(turns + 1));
      else setTimeout(() => poll(turns + 1), 4);
      return;
    }
    isPolling = false;
    events.onDrained();
  };
  return () => {
    if (isPolling) return;
    isPolling = true;
    queueMacrotask(() => poll(1));
  };
}

function listen(socket: WebSocket, events: SocketEvents): void {
  socket.onerror = null;
  socket.onclose = ({ code, reason }) => events.onClosed(code, reason);
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) events.onMessage(new Uint8Array(data));
    else socket.close(CLOSE_CODE.protocolError, "a message is text: all of this protocol is binary");
  };
}
