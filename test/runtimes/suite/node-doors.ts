import { createNodeTransport, createTunnelTransport, type NodeTransportOptions } from "fairlead/node";
import type { Door, Need, Setting } from "./case.js";

/** The further ways that `fairlead/node` has, where there are `node:http2` and `ws`. */
export function nodeDoors({ url }: Setting): Door[] {
  const http = (name: string, options: NodeTransportOptions = {}): Door => ({
    name,
    lacks(need: Need) {
      if (need === "duplex" && options.httpVersion === "1.1")
        return "HTTP/1.1 does not stream both ways at a time; HTTP/2 does";
      if (need === "serve")
        return "a server calls no client by HTTP; the tunnel does it, or `serveCallbacks()`";
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
