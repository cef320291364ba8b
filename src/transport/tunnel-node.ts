import type { SecureContextOptions } from "node:tls";
import { tunnelUrl } from "../tunnel/socket/web-socket.js";
import { dialWs } from "../tunnel/socket/ws-socket.js";
import { createTransportOver, type TunnelTransport, type TunnelTransportOptions } from "./tunnel.js";

export interface NodeTunnelOptions extends TunnelTransportOptions {
  /** The certificates (PEM) that a server's may be signed with, in the place of those that Node trusts by itself. */
  ca?: SecureContextOptions["ca"];
}

/**
 * A transport through a tunnel to the server at `url`, for Node, Deno and Bun: every kind of call over one WebSocket,
 * in both directions. Nothing is dialled before the first call, and an idle socket keeps no process alive.
 */
export function createTunnelTransport(
  url: string,
  { ca, dialTimeoutMs = 10_000, ...options }: NodeTunnelOptions = {},
): TunnelTransport {
  const at = tunnelUrl(url);
  const tls = ca === undefined ? {} : { ca };
  return createTransportOver(url, () => dialWs(at, dialTimeoutMs, tls), { ...options, dialTimeoutMs });
}
