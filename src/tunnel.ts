/**
 * `fairlead/tunnel`: every kind of call, in both directions, over one WebSocket, in every runtime that has one.
 * `fairlead/web` opens a tunnel by itself for what fetch cannot do; on Node, `fairlead/node` has one that needs no
 * global WebSocket.
 *
 * @module
 */

export type { TunnelWorker } from "./transport/share.js";
export { shareTunnels } from "./transport/shared-tunnel.js";
export { createFailoverTunnelTransport } from "./transport/tunnel/failover.js";
export {
  createTunnelTransport,
  type Serving,
  type TunnelTransport,
  type TunnelTransportOptions,
} from "./transport/tunnel.js";
export type { TunnelLimits } from "./tunnel/wire/limits.js";
