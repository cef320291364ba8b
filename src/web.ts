/**
 * `fairlead/web`: transports over fetch, for browsers, workers and the edge.
 *
 * @module
 */
export type { FetchOptions, WebTransport } from "./transport/fetch.js";
export { createGrpcWebTransport } from "./transport/grpc-web.js";
export { shareTunnels } from "./transport/shared-tunnel.js";
export {
  createTunnelTransport,
  type TunnelTransport,
  type TunnelTransportOptions,
} from "./transport/tunnel.js";
export { createWebTransport, type WebTransportOptions } from "./transport/web.js";
export type { TunnelLimits } from "./tunnel/limits.js";
