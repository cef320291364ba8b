import { Code, ConnectError } from "@connectrpc/connect";
import { baseUrlOf } from "../../lib/base-url.js";
import { queueMacrotask } from "../../lib/set-immediate.js";
import { SUBPROTOCOL } from "../wire/frame.js";
import { CLOSE_CODE } from "../wire/protocol-error.js";
import { LOW_WATER, type OpenSocket, type SocketEvents } from "./socket.js";

/** Where a tunnel is, on a server at `url`. */
export function tunnelUrl(url: string): string {
  return `${baseUrlOf(url).replace(/^http/, "ws")}${TUNNEL_PATH}`;
}

/** The path that a server takes tunnels at. */
export const TUNNEL_PATH = `/${SUBPROTOCOL}`;

/** Opens a WebSocket as browsers, Deno, Bun, workers and Node from 22 on have it. Rejects with what is known of why not. */
export function dialWebSocket(url: string, timeoutMs: number): Promise<OpenSocket> {
  if (typeof WebSocket === "undefined") return Promise.reject(noWebSocket());
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    const late = setTimeout(() => {
      socket.close();
      reject(new Error(`no answer within ${timeoutMs} ms`));
    }, timeoutMs);
    socket.onerror = () => reject(new Error(`the WebSocket could not be opened; ${PROXY_ADVICE}`));
    socket.onclose = ({ code, reason }) => {
      clearTimeout(late);
      reject(new Error(`the WebSocket was closed (${code}${reason && `: ${reason}`})`));
    };
    socket.onopen = () => {
      clearTimeout(late);
      resolve(overWebSocket(socket));
    };
  });
}

/** Why a server that can be reached otherwise may have no tunnel. */
export const PROXY_ADVICE = "a proxy in between may not pass WebSockets on (see docs/proxies.md)";

const noWebSocket = (): ConnectError =>
  new ConnectError(
    "a tunnel needs WebSocket, which this runtime does not have: on Node 20, createTunnelTransport() of fairlead/node brings one",
    Code.Unimplemented,
    undefined,
    undefined,
    new ReferenceError("WebSocket is not defined"),
  );

/** A WebSocket that is open. */
export function overWebSocket(socket: WebSocket): OpenSocket {
  // What comes before anyone listens is kept.
  const early: MessageEvent[] = [];
  socket.onmessage = (event) => early.push(event);
  return (events) => {
    listen(socket, events);
    for (const event of early.splice(0)) queueMicrotask(() => socket.onmessage?.(event));
    let isWatched = false;
    const watch = (turns: number) => {
      if (socket.bufferedAmount > LOW_WATER && socket.readyState === OPEN) {
        // Nothing tells when a WebSocket has sent: it is looked after, soon at first.
        if (turns < 100) queueMacrotask(() => watch(turns + 1));
        else setTimeout(() => watch(turns + 1), 4);
        return;
      }
      isWatched = false;
      events.onDrained();
    };
    return {
      send(message, free) {
        if (socket.readyState !== OPEN) return;
        socket.send(message);
        // It has made its own copy by then.
        free();
        if (isWatched || socket.bufferedAmount <= LOW_WATER) return;
        isWatched = true;
        queueMacrotask(() => watch(1));
      },
      get bufferedBytes() {
        return socket.bufferedAmount;
      },
      // It keeps no process alive in any runtime that has one.
      keepProcessAlive() {},
      close: (code, reason) =>
        socket.close(code === CLOSE_CODE.normal || code >= 3000 ? code : CLOSE_CODE.protocolError, reason),
    };
  };
}

const OPEN = 1;

function listen(socket: WebSocket, events: SocketEvents): void {
  socket.onerror = null;
  socket.onclose = ({ code, reason }) => events.onClosed(code, reason);
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) events.onMessage(new Uint8Array(data));
    else socket.close(CLOSE_CODE.protocolError, "a message is text: all of this protocol is binary");
  };
}
