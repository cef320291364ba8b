/**
 * `fairlead/web/tunnel`: the tunnel by itself, and the worker that pages share it through. A module of its own, since
 * what `fairlead/web` names, every page would carry: there the tunnel is loaded when a call needs it.
 *
 * @module
 */
export { shareTunnels } from "./transport/shared-tunnel.js";
export {
  createTunnelTransport,
  type TunnelTransport,
  type TunnelTransportOptions,
} from "./transport/tunnel.js";
export type { TunnelLimits } from "./tunnel/limits.js";
