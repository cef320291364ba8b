import type { Http2ServerRequest } from "node:http2";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import type { Connections } from "../../node-http/connections.js";
import type { Upgrade } from "../../node-http/one-port.js";
import { TUNNEL_PATH } from "../../tunnel/socket/web-socket.js";
import { MAX_WS_MESSAGE_BYTES, overWs } from "../../tunnel/socket/ws-socket.js";
import { SUBPROTOCOL } from "../../tunnel/wire/frame.js";
import type { HostCheck } from "../http/host-check.js";
import type { Server } from "../server.js";

/** Accepts tunnels on connections that ask for a WebSocket at the tunnel's path. */
export function tunnelUpgrade(
  server: { readonly tunnels: Pick<Server["tunnels"], "accept"> },
  connections: Connections,
  check: HostCheck,
): Upgrade {
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_WS_MESSAGE_BYTES,
    handleProtocols: () => SUBPROTOCOL,
  });
  const take: Upgrade["take"] = (request, socket, head) => {
    socket.on("error", () => socket.destroy());
    const { origin, host } = request.headers;
    const refused = check({ host, origin });
    if (refused) return refuse(socket, STATUS[refused.status], refused.error.rawMessage);
    const offered = request.headers["sec-websocket-protocol"]?.split(/\s*,\s*/) ?? [];
    if (!offered.includes(SUBPROTOCOL)) {
      const got = offered.length > 0 ? `not ${offered.join(", ").slice(0, 100)}` : "and none was asked for";
      return refuse(socket, "400 Bad Request", `the subprotocol here is ${SUBPROTOCOL}, ${got}`);
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const connection = connections.of(request as unknown as Http2ServerRequest);
      server.tunnels.accept(overWs(webSocket), { origin, host, connection });
    });
  };
  return { wants: ({ url, headers }) => isTunnelPath(url) && isWebSocket(headers.upgrade), take };
}

const isTunnelPath = (url: string | undefined): boolean => url?.split("?", 1)[0] === TUNNEL_PATH;

const isWebSocket = (protocol: string | undefined): boolean => protocol?.toLowerCase() === "websocket";

const STATUS = { 400: "400 Bad Request", 403: "403 Forbidden", 421: "421 Misdirected Request" } as const;

function refuse(socket: Duplex, status: string, why: string): void {
  const body = `${why}\n`;
  const headers = `connection: close\r\ncontent-type: text/plain\r\ncontent-length: ${Buffer.byteLength(body)}`;
  socket.end(`HTTP/1.1 ${status}\r\n${headers}\r\n\r\n${body}`);
}
