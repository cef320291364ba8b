/**
 * `fairlead/web`: transports over fetch, for browsers, workers and the edge.
 *
 * @module
 */
export { createWebTransport, type WebTransportOptions } from "./transport/web.js";
