/** `fairlead/node`: transports over Node's HTTP client, and AppCallback for Node apps. */
export { createNodeTransport, type NodeTransport, type NodeTransportOptions } from "./transport/node.js";
