import { createServer } from "fairlead/server";
import { createTunnelTransport } from "fairlead/tunnel";
import { createGrpcWebTransport, createWebTransport } from "fairlead/web";
import type { Door, Need, Setting, Way } from "./case.js";
import { serverConfig } from "./server-config.js";

/** Every way to a server that needs nothing but what browsers have, too. */
export function webDoors({ runtime, url, mirror }: Setting): Door[] {
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

/** What fetch cannot do goes through a tunnel. */
function lacksWebSocket(): string | undefined {
  if (typeof WebSocket !== "undefined") return undefined;
  return "no WebSocket in this runtime; the transports of `fairlead/node` need none";
}

function inProcess(runtime: string, mirror: string): Door {
  const server = createServer({ config: serverConfig(mirror, [runtime]) });
  return {
    name: "in process",
    lacks: (need: Need) =>
      need === "serve" ? "nothing calls the app from outside; the server is its own" : undefined,
    open: (): Way => server.transport(),
    close: () => server.close(),
  };
}
