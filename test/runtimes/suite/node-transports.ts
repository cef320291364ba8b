import { createNodeTransport, createTunnelTransport, type NodeTransportOptions } from "fairlead/node";
import type { Need, Setting, TestedTransport } from "./case.js";

/** The transports of `fairlead/node`, which need `node:http2` and `ws`. */
export function nodeTransports({ url }: Setting): TestedTransport[] {
  const http = (name: string, options: NodeTransportOptions = {}): TestedTransport => ({
    name,
    lacks(need: Need) {
      if (need === "duplex" && options.httpVersion === "1.1")
        return "HTTP/1.1 does not stream in both directions at the same time; HTTP/2 does";
      if (need === "serve")
        return "a server cannot call its HTTP clients; the tunnel and `serveCallbacks()` support that";
      return undefined;
    },
    open: () => createNodeTransport(url, options),
  });
  return [
    http("Connect"),
    http("gRPC", { protocol: "grpc" }),
    http("gRPC-Web", { protocol: "grpc-web" }),
    http("Connect, HTTP/1.1, JSON", { httpVersion: "1.1", json: true }),
    {
      name: "the tunnel by ws",
      lacks: () => undefined,
      open: (appId) => createTunnelTransport(url, { ...(appId && { appId }) }),
    },
  ];
}
