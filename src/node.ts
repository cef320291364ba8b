/**
 * `fairlead/node`: transports over Node's HTTP client, and AppCallback for Node apps.
 *
 * @module
 */
export {
  type FilePersistenceOptions,
  filePersistence,
} from "./client/gossip-persistence/file/file-persistence.js";
export { type ServeCallbacksOptions, type ServedCallbacks, serveCallbacks } from "./transport/callbacks.js";
export { createNodeTransport, type NodeTransport, type NodeTransportOptions } from "./transport/node.js";
export type { TunnelWorker } from "./transport/share.js";
export type { Serving, TunnelTransport, TunnelTransportOptions } from "./transport/tunnel.js";
export { createTunnelTransport, type NodeTunnelOptions } from "./transport/tunnel-node.js";
export type { TunnelLimits } from "./tunnel/wire/limits.js";
