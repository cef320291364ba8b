import { createServer as createHttp1, type IncomingMessage, type RequestListener } from "node:http";
import {
  constants,
  createServer as createHttp2,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import { type AddressInfo, createServer as createTcp, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import {
  createServer as createTls,
  type SecureContextOptions,
  type TLSSocket,
  type Server as TlsServer,
} from "node:tls";

import { Connections } from "./connections.js";
import { declineUpgrade } from "./declined-upgrade.js";
import { openWindow, WINDOW_BYTES } from "./flow-window.js";
import { type KeepaliveOptions, keepAlive } from "./keepalive.js";
import { PipelinedResponses } from "./pipelined-responses.js";
import { NO_BOUND_MB } from "./session-memory.js";

/** Answers requests of both HTTP versions, by what they have in common. */
export type Answer = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

/** Takes connections whose client wants to go on in another protocol. */
export interface Upgrade {
  /** Whether it takes this one. */
  wants(request: IncomingMessage): boolean;
  take(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

export interface OnePortOptions {
  host: string;
  port: number;
  /** A key and its certificate, and what else Node takes beside them: TLS, and nothing without it. */
  tls?: SecureContextOptions | undefined;
  /** Takes in the connections. Default: 10,000 of them. */
  connections?: Connections;
  /** How many calls of one connection HTTP/2 lets a client begin at the same time. Default: 1000. */
  callsPerConnection?: number;
  /** The bytes of the headers of one request, above which the connection is closed without an answer of ours. Default: 64 KiB. */
  headerBytes?: number;
  /** When a connection counts as lost. */
  keepalive?: KeepaliveOptions & {
    /** After how much silence the kernel asks the client's, by TCP, whether it is there. */
    tcpKeepaliveMs: number;
    /** For how long a connection without calls is kept. */
    connectionIdleMs: number;
  };
  /** Told of each connection that is cut because it counts as lost, and why. Default: no one is. */
  onLost?: (why: string, address: string) => void;
  /** Takes requests to go on in another protocol, if it wants them. All others are answered as plain requests. Default: none. */
  upgrade?: Upgrade;
  /** Which requests are answered while the port closes; all others get 503. Default: none. */
  whileClosing?: (request: Http2ServerRequest) => boolean;
}

/** A port that is listened on. */
export interface OnePort {
  /** Where it is, as "http://127.0.0.1:34904". */
  url: string;
  port: number;
  /** Serves further connections of a port with TLS by this key and certificate; open ones go on with theirs. */
  setTls(tls: SecureContextOptions): void;
  /** Still takes calls, but no more than one by each connection of HTTP/1.1: its answer is the last. */
  drain(): void;
  /**
   * Refuses further calls, and resolves when the calls under way have ended, or have been cut after `graceMs`, and the
   * port is free. Streams have to be ended by whoever serves them. Called once.
   */
  close(graceMs: number): Promise<void>;
}

/** What every HTTP/2 connection begins with. */
const HTTP2_PREFACE = "PRI * HTTP/2.0";

/** The type of the record that every TLS connection begins with. */
const TLS_HANDSHAKE = "\u0016";

/** What Node's HTTP/1.1 takes as well. */
const MOST_HEADERS = 2000;

/** How long a connection may say nothing before it is closed. */
const SILENT_MS = 10_000;

const KEEPALIVE = {
  pingMs: 10_000,
  pingTimeoutMs: 10_000,
  headersTimeoutMs: 60_000,
  tcpKeepaliveMs: 15_000,
  connectionIdleMs: 300_000,
};

/** What an HTTP client is told that does not know of the port's TLS. */
const NO_TLS =
  "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\nthis port speaks TLS: call it by https://\n";

/** What a client is told that wants another protocol while the port closes. */
const CLOSING = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/**
 * Serves HTTP/1.1 and HTTP/2 on one port: without TLS told apart by the first bytes of the connection, with it by ALPN.
 */
export async function openPort(
  answer: Answer,
  {
    host,
    port,
    tls,
    connections = new Connections(10_000),
    callsPerConnection = 1000,
    headerBytes = 64 * 1024,
    keepalive = KEEPALIVE,
    onLost = () => {},
    upgrade,
    whileClosing = () => false,
  }: OnePortOptions,
): Promise<OnePort> {
  const sockets = new Set<Socket>();
  const sessions = new Set<{ close(): void }>();
  const calls = new Calls();
  const pipelined = new PipelinedResponses();
  let shut = false;
  let isDraining = false;
  const answerOrRefuse: Answer = (request, response) => {
    connections.endExtra(request, response);
    const connection = connections.of(request);
    connection.begin();
    if (request.httpVersionMajor === 1) pipelined.add(request.socket, response);
    response.once("close", () => connection.end());
    if (isDraining && request.httpVersionMajor === 1) response.setHeader("connection", "close");
    if (!calls.closing) {
      calls.add(response);
      return answer(request, response);
    }
    if (whileClosing(request)) return answer(request, response);
    response.writeHead(503, { "content-type": "text/plain" });
    response.end("the server is closing\n");
    request.resume();
  };
  const http1 = createHttp1(
    {
      maxHeaderSize: headerBytes,
      // Longer than proxies keep theirs, which else send a call just as it is closed. Where there may be no more
      // connections, idle ones are closed earlier.
      keepAliveTimeout: keepalive.connectionIdleMs,
      headersTimeout: keepalive.headersTimeoutMs,
      connectionsCheckingInterval: Math.min(30_000, keepalive.headersTimeoutMs / 2),
      // An upload, or a stream of requests, may last for as long as its client wants.
      requestTimeout: 0,
    },
    answerOrRefuse as unknown as RequestListener,
  );
  const settings = {
    maxConcurrentStreams: callsPerConnection,
    maxHeaderListSize: headerBytes,
    initialWindowSize: WINDOW_BYTES,
  };
  const http2 = createHttp2(
    { settings, maxHeaderListPairs: MOST_HEADERS, maxSessionMemory: NO_BOUND_MB },
    answerOrRefuse,
  );
  http1.on("upgrade", (request, socket, head) => {
    if (!upgrade?.wants(request)) {
      declineUpgrade(http1, request, socket, head, pipelined).catch(() => socket.destroy());
    } else if (calls.closing) socket.end(CLOSING);
    else upgrade.take(request, socket, head);
  });
  // It never listens itself, so its watch over slow and idle connections has to be started by hand.
  http1.emit("listening");
  const watch = (session: ServerHttp2Session, socket: Socket) => {
    sessions.add(session);
    openWindow(session);
    session.once("close", () => sessions.delete(session));
    const connection = connections.at(session, socket);
    connection.close = () => session.close();
    keepAlive(session, { isIdle: () => connection.isIdle, socket }, keepalive, (why) => {
      onLost(why, socket.remoteAddress ?? "");
      session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
      socket.destroy();
    });
  };
  // A client that vanishes is an error of its session only; unhandled, it would end the process.
  http2.on("sessionError", () => {});
  const hold = (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
  };
  const serve = (socket: Socket, isHttp2: boolean) => {
    if (isHttp2) http2.once("session", (session) => watch(session, socket));
    (isHttp2 ? http2 : http1).emit("connection", socket);
  };
  const secure =
    tls &&
    openTls(tls, (socket) => {
      if (shut) return void socket.destroy();
      hold(socket);
      serve(socket, socket.alpnProtocol === "h2");
    });
  const watched = { noDelay: true, keepAlive: true, keepAliveInitialDelay: keepalive.tcpKeepaliveMs };
  const tcp = createTcp(watched, (socket) => {
    if (!connections.add(socket)) return;
    hold(socket);
    handOver(socket, (first) => {
      if (!secure) serve(socket, first === "http2");
      else if (first === "tls") secure.emit("connection", socket);
      else if (first === "http1") socket.resume().end(NO_TLS);
      else socket.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    tcp.once("error", reject);
    tcp.listen({ host, port }, () => resolve());
  });
  const { port: taken } = tcp.address() as AddressInfo;
  const shownHost = host.includes(":") ? `[${host}]` : host;

  return {
    url: `${tls ? "https" : "http"}://${shownHost}:${taken}`,
    port: taken,
    setTls: (tls) => secure?.setSecureContext(tls),
    drain() {
      isDraining = true;
    },
    async close(graceMs) {
      isDraining = true;
      const cut = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, graceMs);
      // Each HTTP/2 connection that there is takes no more calls, and closes with its last one. Its GOAWAY names the last
      // call that was taken, so that clients may send again what they sent behind it. One before that, which names none,
      // would spare them that elsewhere; but Node takes no calls behind any GOAWAY.
      for (const session of sessions) session.close();
      // The port stays until then, so that whoever asks hears that it closes.
      await calls.ended();
      shut = true;
      const ended = new Promise<void>((resolve) => tcp.close(() => resolve()));
      for (const session of sessions) session.close();
      // Some clients connect ahead of their next call: fetch does after one that it has given up.
      for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
      // One of HTTP/1.1 has to be found idle.
      const idle = setInterval(() => http1.closeIdleConnections(), 20);
      http1.closeIdleConnections();
      await ended;
      clearTimeout(cut);
      clearInterval(idle);
    },
  };
}

/** The calls under way. */
class Calls {
  /** Whether further ones are not counted any more. */
  closing = false;
  #open = 0;
  #tell: () => void = () => {};

  add(response: Http2ServerResponse): void {
    this.#open++;
    response.once("close", () => {
      if (--this.#open === 0) this.#tell();
    });
  }

  /** Resolves when those that have begun before have ended. */
  ended(): Promise<void> {
    this.closing = true;
    return new Promise((resolve) => {
      this.#tell = resolve;
      if (this.#open === 0) resolve();
    });
  }
}

/** The TLS side of a port: it never listens itself, and takes the connections that are handed to it. */
function openTls(options: SecureContextOptions, take: (socket: TLSSocket) => void): TlsServer {
  const ALPNProtocols = ["h2", "http/1.1"];
  const server = createTls({ ...options, ALPNProtocols, handshakeTimeout: SILENT_MS }, take);
  // A client that does not trust the certificate, or speaks no version of ours, is its own problem.
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  return server;
}

/** Reads as much of the first bytes as it takes to know the protocol, puts them back, and tells. */
function handOver(socket: Socket, tell: (first: "http1" | "http2" | "tls") => void): void {
  let seen = Buffer.alloc(0);
  socket.setTimeout(SILENT_MS, () => socket.destroy());
  const look = () => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    seen = Buffer.concat([seen, chunk]);
    const start = seen.subarray(0, HTTP2_PREFACE.length).toString("latin1");
    if (start.length < HTTP2_PREFACE.length && HTTP2_PREFACE.startsWith(start)) return;
    socket.removeListener("readable", look);
    socket.removeAllListeners("timeout");
    socket.setTimeout(0);
    socket.unshift(seen);
    tell(start === HTTP2_PREFACE ? "http2" : start.startsWith(TLS_HANDSHAKE) ? "tls" : "http1");
  };
  socket.on("readable", look);
}
