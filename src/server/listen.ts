import { readFile } from "node:fs/promises";
import { createServer as createHttp1, type RequestListener } from "node:http";
import { createServer as createHttp2, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import { type AddressInfo, createServer as createTcp, type Socket } from "node:net";
import {
  connectNodeAdapter,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
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

/** What every HTTP/2 connection begins with. */
const HTTP2_PREFACE = "PRI * HTTP/2.0";

/**
 * Puts `server` on one port for everything: HTTP/1.1 and HTTP/2 without TLS, told apart by the first bytes of the
 * connection; Connect, gRPC and gRPC-Web on both.
 */
export async function listen(
  server: Server,
  { host = "127.0.0.1", port = 34904, graceMs = 5000 }: ListenOptions = {},
): Promise<Listening> {
  const sockets = new Set<Socket>();
  const answer = requestListener(server);
  // Connect and this file use what both kinds of request have in common.
  const http1 = createHttp1(answer as unknown as RequestListener);
  const http2 = createHttp2(answer);
  // It never listens itself, so its watch over slow and idle connections has to be started by hand.
  http1.emit("listening");
  // A client that vanishes is an error of its session only; unhandled, it would end the process.
  http2.on("sessionError", () => {});
  const tcp = createTcp((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    handOver(socket, (isHttp2) => (isHttp2 ? http2 : http1).emit("connection", socket));
  });
  await new Promise<void>((resolve, reject) => {
    tcp.once("error", reject);
    tcp.listen({ host, port }, () => resolve());
  });
  const { port: taken } = tcp.address() as AddressInfo;

  let closed: Promise<void> | undefined;
  const shut = async () => {
    const ended = new Promise<void>((resolve) => tcp.close(() => resolve()));
    const stopped = server.close();
    http1.closeIdleConnections();
    http2.close();
    const cut = setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, graceMs);
    // Sessions that clients keep open for later calls have nothing to finish.
    const idle = setInterval(() => http1.closeIdleConnections(), 20);
    await stopped;
    for (const session of sessions) session.close();
    await ended;
    clearTimeout(cut);
    clearInterval(idle);
  };
  const sessions = new Set<{ close(): void }>();
  http2.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  const close = () => (closed ??= shut());
  const shownHost = host.includes(":") ? `[${host}]` : host;
  return { url: `http://${shownHost}:${taken}`, port: taken, close, [Symbol.asyncDispose]: close };
}

/** What Node offers to the services: every protocol, the environment, and files. */
export const nodePlatform: Platform = {
  dial(baseUrl, protocol) {
    if (protocol === "grpc") return createGrpcTransport({ baseUrl });
    if (protocol === "grpc-web") return createGrpcWebTransport({ baseUrl, httpVersion: "2" });
    return createConnectTransport({ baseUrl, httpVersion: "2" });
  },
  env: process.env,
  readFile: (path) => readFile(path, "utf8"),
};

/** Reads as much of the first bytes as it takes to know the protocol, puts them back, and tells. */
function handOver(socket: Socket, tell: (isHttp2: boolean) => void): void {
  let seen = Buffer.alloc(0);
  const look = () => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    seen = Buffer.concat([seen, chunk]);
    const start = seen.subarray(0, HTTP2_PREFACE.length).toString("latin1");
    if (start.length < HTTP2_PREFACE.length && HTTP2_PREFACE.startsWith(start)) return;
    socket.removeListener("readable", look);
    socket.unshift(seen);
    tell(start === HTTP2_PREFACE);
  };
  socket.on("readable", look);
}

function requestListener(server: Server) {
  const rpc = connectNodeAdapter({
    ...server.options,
    routes: server.routes,
    fallback: (_request, response) => {
      response.writeHead(404, { "content-type": "text/plain" });
      response.end("not found\n");
    },
  });
  return (request: Http2ServerRequest, response: Http2ServerResponse) => {
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
      rpc(request, response);
    }
  };
}
