import { createServer } from "fairlead/server";
import { createTunnelTransport } from "fairlead/tunnel";
import { createGrpcWebTransport, createWebTransport } from "fairlead/web";
import type { ClosableTransport, Need, Setting, TestedTransport } from "./case.js";
import { serverConfig } from "./server-config.js";

/** The transports that need only the APIs of browsers. */
export function webTransports({ runtime, url, mirror }: Setting): TestedTransport[] {
  return [
    {
      name: "Connect over fetch",
      lacks: lacksWebSocket,
      open: (appId) => createWebTransport(url, { ...(appId && { appId }) }),
    },
    {
      name: "gRPC-Web over fetch",
      lacks: lacksWebSocket,
      open: (appId) => createGrpcWebTransport(url, { ...(appId && { appId }) }),
    },
    {
      name: "the tunnel",
      absent: lacksWebSocket(),
      lacks: () => undefined,
      open: (appId) => createTunnelTransport(url, { ...(appId && { appId }) }),
    },
    inProcess(runtime, mirror),
  ];
}

/** Calls that fetch does not support use a tunnel. */
function lacksWebSocket(): string | undefined {
  if (typeof WebSocket !== "undefined") return undefined;
  return "no WebSocket in this runtime; the transports of `fairlead/node` need none";
}

function inProcess(runtime: string, mirror: string): TestedTransport {
  const server = createServer({ config: serverConfig(mirror, [runtime]) });
  return {
    name: "in process",
    lacks: (need: Need) =>
      need === "serve" ? "the server is in the same process, so nothing else calls the app" : undefined,
    open: (): ClosableTransport => server.transport(),
    close: () => server.close(),
  };
}
