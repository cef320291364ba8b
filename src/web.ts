/**
 * `fairlead/web`: transports over fetch, for browsers, workers and the edge.
 *
 * @module
 */
export { type IndexedDbOptions, indexedDbPersistence } from "./client/gossip-persistence/indexed-db.js";
export type { FetchOptions, WebTransport } from "./transport/fetch.js";
export { createGrpcWebTransport } from "./transport/grpc-web.js";
export type { TunnelWorker } from "./transport/share.js";
export type { Serving } from "./transport/tunnel.js";
export { createWebTransport, type WebTransportOptions } from "./transport/web.js";
