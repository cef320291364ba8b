/** `fairlead/web`: transports over fetch, for browsers, workers and the edge. */
export { createWebTransport, type WebTransportOptions } from "./transport/web.js";
