import { readFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import {
  connectNodeAdapter,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import { type Answer, openPort } from "../internal/node/one-port.js";
import { trace } from "../internal/node/trace.js";
import type { Platform } from "./context.js";
import { corsHeaders } from "./cors.js";
import type { Server } from "./server.js";

export interface ListenOptions {
  /** Default: "127.0.0.1", so that no one else on the network can reach it. */
  host?: string;
  /** Default: 34904, Layotto's own, where existing clients look for it. 0 takes any free one. */
  port?: number;
  /** How long close() lets calls under way finish, in milliseconds, before it cuts them. Default: 5000. */
  graceMs?: number;
}

/** A server on a port. */
export interface Listening extends AsyncDisposable {
  /** Where it is, as "http://127.0.0.1:34904". */
  url: string;
  port: number;
  /** Takes no more calls, ends streams, lets the rest finish, then closes the server and its engine. Idempotent. */
  close(): Promise<void>;
}

/**
 * Puts `server` on one port for everything: HTTP/1.1 and HTTP/2 without TLS; Connect, gRPC and gRPC-Web on both.
 */
export async function listen(
  server: Server,
  { host = "127.0.0.1", port = 34904, graceMs = 5000 }: ListenOptions = {},
): Promise<Listening> {
  const opened = await openPort(requestListener(server), { host, port });
  let closed: Promise<void> | undefined;
  const shut = async () => {
    server.endStreams();
    await opened.close(graceMs);
    await server.close();
  };
  const close = () => (closed ??= shut());
  return { url: opened.url, port: opened.port, close, [Symbol.asyncDispose]: close };
}

/** What Node offers to the services: every protocol, the environment, and files. */
export const nodePlatform: Platform = {
  dial(baseUrl, protocol) {
    const sessionManager = new Http2SessionManager(baseUrl);
    const create = {
      grpc: createGrpcTransport,
      "grpc-web": createGrpcWebTransport,
      connect: createConnectTransport,
    };
    const transport = create[protocol]({ baseUrl, httpVersion: "2", sessionManager });
    return { ...transport, [Symbol.asyncDispose]: async () => sessionManager.abort() };
  },
  fetch: (url, init) => (init.method === "TRACE" ? trace(url, init) : fetch(url, init)),
  env: process.env,
  readFile: (path) => readFile(path, "utf8"),
};

function requestListener(server: Server): Answer {
  const rpc = connectNodeAdapter({
    ...server.options,
    routes: server.routes,
    fallback: (_request, response) => {
      response.writeHead(404, { "content-type": "text/plain" });
      response.end("not found\n");
    },
  });
  return (request, response) => {
    const { origin } = request.headers;
    if (origin !== undefined) {
      const wanted = request.headers["access-control-request-headers"];
      const cors = corsHeaders(origin, typeof wanted === "string" ? wanted : null);
      for (const [name, value] of Object.entries(cors)) response.setHeader(name, value);
    }
    if (request.method === "OPTIONS") {
      response.writeHead(204);
      response.end();
    } else if (request.url === "/healthz") {
      response.writeHead(200, { "content-type": "application/json" });
      response.end('{"status":"ok"}\n');
    } else {
      response.once("finish", () => discard(request));
      rpc(request, response);
    }
  };
}

/** Throws away what a client sends after its answer: one that is still uploading reads it then, and hangs up. */
function discard(request: Readable): void {
  const read = () => {
    while (request.read() !== null);
  };
  request.on("readable", read);
  read();
}
