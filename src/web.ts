/**
 * `fairlead/web`: transports over fetch, for browsers, workers and the edge.
 *
 * @module
 */
export type { FetchOptions } from "./transport/fetch.js";
export { createGrpcWebTransport } from "./transport/grpc-web.js";
export { createWebTransport, type WebTransportOptions } from "./transport/web.js";
