/// <reference lib="esnext.disposable" preserve="true" />
import { readFile } from "node:fs/promises";
import type { Http2ServerRequest, Http2ServerResponse, OutgoingHttpHeaders } from "node:http2";
import type { Readable } from "node:stream";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import { createContextValues } from "@connectrpc/connect";
import {
  compressionBrotli,
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import { isLoopback } from "../../lib/loopback.js";
import { createConnectHandler } from "../../node-http/connect-handler.js";
import { Connections } from "../../node-http/connections.js";
import { httpRequest } from "../../node-http/http-request.js";
import { Http2Sessions } from "../../node-http/http2-sessions.js";
import { type Answer, openPort } from "../../node-http/one-port.js";
import { answerPage, isPage, type Pages } from "../../node-http/page.js";
import { sleep } from "../../rpc/sleep.js";
import { checkHost } from "../access/host.js";
import { connectionKey } from "../calls/admission.js";
import { givenUp } from "../calls/shares.js";
import { isBeyondFetch, type Platform } from "../context.js";
import type { Server } from "../server.js";
import { tunnelUpgrade } from "../tunnel/upgrade.js";
import { isTunnelPath, UPGRADE_REQUIRED } from "../tunnel/upgrade-required.js";
import { limitDecompression } from "./compression.js";
import { type Cors, corsFor } from "./cors.js";
import { type HostCheck, hostCheck, refusedByHost } from "./host-check.js";
import { healthPage } from "./pages.js";

/** A key and its certificate, and what else Node's `tls.createSecureContext` takes. */
export type TlsOptions = SecureContextOptions & Required<Pick<SecureContextOptions, "key" | "cert">>;

/** Where and how a server listens. */
export interface ListenOptions {
  /**
   * Default: "127.0.0.1", so that no one else on the network can reach it. Another needs `access` in the server's
   * configuration, or `insecure`.
   */
  host?: string;
  /** Lets everyone who reaches `host` call a server without `access`. Default: false. */
  insecure?: boolean;
  /** Default: 34904, Layotto's own, where existing clients look for it. 0 takes any free one. */
  port?: number;
  /**
   * A PEM key and its certificate (with what stands between it and the authority), and what else Node's
   * `tls.createSecureContext` takes: the port then speaks TLS only, HTTP/2 and HTTP/1.1 by ALPN. Default: no TLS.
   */
  tls?: TlsOptions;
  /**
   * For how long close() goes on to take calls, in milliseconds, while `/readyz` and Health say already that the server
   * is not ready: as long as a load balancer takes to notice. Default: 0.
   */
  drainMs?: number;
  /** How long close() lets calls under way finish, in milliseconds, before it cuts them. Default: 5000. */
  graceMs?: number;
  /** Pages of yours beside the calls, by the first segments of their paths. Default: none. */
  pages?: Pages;
}

/** A server on a port. */
export interface Listening extends AsyncDisposable {
  /** Where it is, as "http://127.0.0.1:34904", or https with TLS. */
  url: string;
  /** Where it listens. */
  port: number;
  /**
   * Serves further connections with another key and certificate, those that are open go on: for one that is renewed.
   * Fails with a TypeError where they are no pair, or the port has no TLS, and changes nothing then.
   */
  setTls(tls: TlsOptions): void;
  /**
   * Says that the server is not ready (`/readyz` and Health), takes calls for `drainMs` more, then refuses further ones,
   * ends the streams that have no end of their own, lets the rest finish, and closes the port, the server and its
   * engine. Idempotent.
   */
  close(): Promise<void>;
}

/**
 * Puts `server` on one port for everything: HTTP/1.1 and HTTP/2, with or without TLS; Connect, gRPC and gRPC-Web on
 * both. Fails with a TypeError where the key and the certificate are no pair, and where others could reach a server
 * that asks no one who they are.
 */
export async function listen(
  server: Server,
  {
    host = "127.0.0.1",
    insecure = false,
    port = 34904,
    tls,
    drainMs = 0,
    graceMs = 5000,
    pages,
  }: ListenOptions = {},
): Promise<Listening> {
  if (tls) checkTls(tls);
  checkHost(host, server.config, insecure);
  const { limits, hosts } = server.config;
  const connections = new Connections(limits.connections, limits.connectionIdleMs);
  const cors = corsFor(server.config.cors);
  const check = hostCheck({ hosts, cors, onLoopback: isLoopback(host) });
  const opened = await openPort(requestListener(server, connections, { check, cors, pages }), {
    host,
    port,
    tls,
    connections,
    // What clients queue at. The server's own limit is for those that do not, or that begin before they know it.
    callsPerConnection: limits.connectionStreams,
    // Above the limit, so that the server refuses a call itself, with its reason, before HTTP does without one.
    headerBytes: limits.headerBytes + 64 * 1024,
    keepalive: limits,
    onLost: (why, address) => server.log.info({ why, address }, "a connection was lost"),
    upgrade: tunnelUpgrade(server, connections, check),
    whileClosing: ({ url }) => /^\/(healthz|readyz|grpc\.health\.v1\.Health\/\w+)($|\?)/.test(url),
  });
  let closed: Promise<void> | undefined;
  const shut = async () => {
    server.drain();
    opened.drain();
    if (drainMs > 0) await sleep(drainMs);
    // Clients hear first that the connection takes no more calls, so that they open their streams again elsewhere.
    const isClosed = opened.close(graceMs);
    server.tunnels.leave();
    server.endStreams();
    await isClosed;
    await server.close();
  };
  const close = () => (closed ??= shut());
  const setTls = (renewed: TlsOptions) => {
    if (!tls)
      throw new TypeError("Cannot change the certificate of a port without TLS: listen() must be given tls");
    checkTls(renewed);
    opened.setTls(renewed);
  };
  return { url: opened.url, port: opened.port, setTls, close, [Symbol.asyncDispose]: close };
}

/** What Node offers to the services: every protocol, the environment, and files. */
export const nodePlatform: Platform = {
  dial(baseUrl, protocol, interceptors = []) {
    const sessionManager = new Http2Sessions(baseUrl);
    const create = {
      grpc: createGrpcTransport,
      "grpc-web": createGrpcWebTransport,
      connect: createConnectTransport,
    };
    const transport = create[protocol]({
      baseUrl,
      httpVersion: "2",
      sessionManager,
      interceptors: [...interceptors, sessionManager.interceptor],
    });
    return { ...transport, [Symbol.asyncDispose]: async () => sessionManager.close() };
  },
  fetch: (url, init) => (isBeyondFetch(init) ? httpRequest(url, init) : fetch(url, init)),
  env: process.env,
  readFile: (path) => readFile(path, "utf8"),
  memory() {
    const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
    return {
      process_resident_memory_bytes: rss,
      nodejs_heap_size_total_bytes: heapTotal,
      nodejs_heap_size_used_bytes: heapUsed,
      nodejs_external_memory_bytes: external,
    };
  },
};

function requestListener(
  server: Server,
  connections: Connections,
  { check, cors, pages }: { check: HostCheck; cors: Cors; pages: Pages | undefined },
): Answer {
  const { limits } = server.config;
  const rpc = createConnectHandler({
    ...server.options,
    acceptCompression: [compressionGzip, compressionBrotli].map((each) => limitDecompression(each, limits)),
    routes: server.routes,
    contextValues: (request) => createContextValues().set(connectionKey, connections.of(request)),
    stalledMs: limits.stalledMs,
    onStalled: (method, address) => server.log.warn({ method, address }, givenUp(limits)),
    onBroken: (err, method) => server.log.error({ err, method }, "an answer broke off"),
  });
  return (request, response) => {
    const { origin } = request.headers;
    const preflight = request.method === "OPTIONS";
    const wanted = request.headers["access-control-request-headers"];
    const headers = preflight ? cors.preflight(origin, wanted?.toString()) : cors.answer(origin);
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (cors.expose && headers["access-control-allow-origin"] && !preflight) exposeAll(response, cors.expose);
    const refused = check({ host: hostOf(request), origin, isPreflight: preflight });
    if (refused) {
      discardBehind(request, response);
      const type = new Headers({ "content-type": request.headers["content-type"] ?? "" });
      void universalResponseToNodeResponse(refusedByHost(refused, type), response).catch(() =>
        response.destroy(),
      );
      return;
    }
    if (preflight) {
      response.writeHead(204);
      response.end();
      return;
    }
    // What is read by GET is as secret and as short-lived as what is read by POST.
    if (request.method === "GET") response.setHeader("cache-control", "no-store");
    const path = request.url.split("?", 1)[0] ?? "";
    const page = healthPage(path, server.readiness);
    if (path === "/metrics") {
      void server.metrics(request.headers.authorization ?? null).then(({ status, headers, body }) => {
        response.writeHead(status, headers);
        response.end(body);
      });
    } else if (page) {
      void page.then(({ status, body }) => {
        response.writeHead(status, { "content-type": "application/json" });
        response.end(`${JSON.stringify(body)}\n`);
      });
    } else if (pages && isPage(pages, path)) {
      void answerPage(pages, request, response);
    } else if (isTunnelPath(path)) {
      requireUpgrade(request, response);
    } else {
      discardBehind(request, response);
      rpc(request, response);
    }
  };
}

type WriteHead = (status: number, headers?: OutgoingHttpHeaders) => Http2ServerResponse;

/** Names the headers of the answer when they are known. */
function exposeAll(response: Http2ServerResponse, expose: NonNullable<Cors["expose"]>): void {
  const writeHead = response.writeHead.bind(response) as WriteHead;
  const exposing: WriteHead = (status, headers = {}) => {
    const names = new Set([...response.getHeaderNames(), ...Object.keys(headers)]);
    return writeHead(status, { ...headers, ...expose(names) });
  };
  response.writeHead = exposing as typeof response.writeHead;
}

function requireUpgrade(request: Http2ServerRequest, response: Http2ServerResponse): void {
  const { status, body } = UPGRADE_REQUIRED;
  // HTTP/2 knows of neither header.
  const offer = request.httpVersionMajor === 1 ? { upgrade: "websocket", connection: "upgrade" } : {};
  response.writeHead(status, { "content-type": "text/plain", ...offer });
  response.end(body);
}

/** What the request says that it is for. */
const hostOf = ({ httpVersionMajor, authority, headers }: Http2ServerRequest): string =>
  (httpVersionMajor === 2 ? authority : headers.host) ?? "";

function checkTls(tls: SecureContextOptions): void {
  if (!tls.key || !tls.cert)
    throw new TypeError("Cannot serve TLS: tls.key and tls.cert must both be given, as PEM");
  try {
    createSecureContext(tls);
  } catch (error) {
    throw new TypeError(`Cannot serve TLS with this tls.key and tls.cert: ${(error as Error).message}`);
  }
}

/** Throws away what a client sends after its answer: one that is still uploading reads it then, and hangs up. */
function discardBehind(request: Http2ServerRequest, response: Http2ServerResponse): void {
  if (request.httpVersionMajor === 1) {
    response.once("finish", () => request.readableEnded || discard(request));
    return;
  }
  // Of HTTP/2 the response finishes with the stream only, and a request that was left half read passes nothing on.
  // Of one that nobody has begun to read, Node itself tells the client that the rest is not wanted.
  const { stream } = request;
  stream.once("finish", () => {
    if (stream.readableFlowing === null) return;
    stream.removeAllListeners("data");
    stream.resume();
  });
}

function discard(request: Readable): void {
  const read = () => {
    while (request.read() !== null);
  };
  request.on("readable", read);
  read();
}
