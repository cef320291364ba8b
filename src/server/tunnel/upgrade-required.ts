import { TUNNEL_PATH } from "../../tunnel/socket/web-socket.js";

/** Whether the request, by its URL or the path in it, is to the tunnel's path. */
export const isTunnelPath = (url: string | undefined): boolean => url?.split("?", 1)[0] === TUNNEL_PATH;

/** The answer to a request at the tunnel's path that is none for a WebSocket, as after a proxy that knows of none. */
export const UPGRADE_REQUIRED = {
  status: 426,
  body: "the tunnel is a WebSocket, and this request asks for none: a proxy in between has to pass Upgrade and Connection on\n",
} as const;
