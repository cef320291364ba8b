import { once } from "node:events";
import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import { type AddressInfo, createServer as createSocketServer } from "node:net";
import { createServer } from "fairlead/server";
import { listen, nodePlatform } from "fairlead/server/node";
import { serverConfig } from "./suite/server-config.js";

/** The server and the HTTP app that all runtimes share. */
export interface Host extends AsyncDisposable {
  url: string;
  mirror: string;
  /** The port of each program on which the server calls it. */
  callbackPorts: ReadonlyMap<string, number>;
}

/** Opens the server for the runtimes `names`. `programs` are those that can listen. */
export async function openHost(names: string[], programs: string[]): Promise<Host> {
  const mirror = await openMirror();
  const callbackPorts = new Map<string, number>();
  for (const name of programs) callbackPorts.set(name, await freePort([...callbackPorts.values()]));
  const apps = Object.fromEntries(
    [...callbackPorts].map(([name, port]) => [name, { url: `http://127.0.0.1:${port}`, askEveryMs: 100 }]),
  );
  const config = { ...serverConfig(mirror.url, names), apps, access: { secretsFromBrowsers: true } };
  const server = await listen(createServer({ platform: nodePlatform, config }), { port: 0 });
  return {
    url: server.url,
    mirror: mirror.url,
    callbackPorts,
    async [Symbol.asyncDispose]() {
      await server.close();
      mirror.http.closeAllConnections();
      mirror.http.close();
    },
  };
}

/** An app that responds with the request. `/slow` never responds; `/status/404` responds with that status. */
async function openMirror(): Promise<{ url: string; http: HttpServer }> {
  const http = createHttpServer(async (request, response) => {
    const { method, url = "" } = request;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (url === "/slow") return;
    // A server in a page calls it from another origin.
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader(
      "access-control-allow-headers",
      request.headers["access-control-request-headers"] ?? "*",
    );
    response.setHeader("access-control-allow-methods", "*");
    response.setHeader("access-control-expose-headers", "*");
    response.setHeader("x-mirror", "yes");
    response.statusCode = method === "OPTIONS" ? 204 : Number(/^\/status\/(\d+)$/.exec(url)?.[1] ?? 200);
    response.end(`${method} ${url} ${Buffer.concat(chunks)}`);
  });
  return { url: await listening(http), http };
}

/** Makes `http` listen on a free port of this machine; returns the URL. */
export async function listening(http: HttpServer): Promise<string> {
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
}

/** A free port, below the range that the system uses for outgoing connections. */
async function freePort(taken: number[]): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    if (!taken.includes(port) && (await isFree(port))) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocketServer();
    socket.once("error", () => resolve(false));
    socket.listen(port, "127.0.0.1", () => socket.close(() => resolve(true)));
  });
}
