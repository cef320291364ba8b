import {
  createServer as createHttp1,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from "node:http";
import {
  constants,
  createServer as createHttp2,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo, createServer as createTcp, type Socket, type Server as TcpServer } from "node:net";
import type { Duplex } from "node:stream";
import {
  createServer as createTls,
  type SecureContextOptions,
  type TLSSocket,
  type Server as TlsServer,
} from "node:tls";

import { UNPROCESSED_HEADER } from "../rpc/extension-headers.js";
import { Connections, type PortConnection } from "./connections.js";
import { declineUpgrade } from "./declined-upgrade.js";
import { openWindow, WINDOW_BYTES } from "./flow-window.js";
import { type KeepaliveOptions, SessionKeepalive } from "./keepalive.js";
import { OpenCalls } from "./open-calls.js";
import { PipelinedResponses } from "./pipelined-responses.js";
import { detectProtocol, SILENT_MS } from "./protocol-detection.js";
import { UNLIMITED_SESSION_MB } from "./session-memory.js";

/** Answers requests of HTTP/1.1 and HTTP/2, by the part of their types that both have. */
export type Answer = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

/** Answers an HTTP/2 request on its stream, without Node's request and response objects. False: it does nothing. */
export type AnswerStream = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  connection: PortConnection,
) => boolean;

type StreamListener = (
  this: unknown,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  rawHeaders: string[],
) => void;

/** Takes over connections whose client asks for another protocol. */
export interface Upgrade {
  /** Whether it takes over the connection of this request. */
  wants(request: IncomingMessage): boolean;
  take(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

export interface OnePortOptions {
  host: string;
  port: number;
  /** The key, the certificate and Node's other options of TLS: the port then speaks TLS only. Default: no TLS. */
  tls?: SecureContextOptions | undefined;
  /** Counts and limits the connections. Default: at most 10,000 of them. */
  connections?: Connections;
  /** How many calls a client may have open on one HTTP/2 connection. Default: 1000. */
  callsPerConnection?: number;
  /** The largest headers of a request in bytes; Node itself refuses larger ones. Default: 64 KiB. */
  headerBytes?: number;
  /** When a connection counts as lost, in milliseconds. */
  keepalive?: KeepaliveOptions & {
    /** The silence after which the kernel sends TCP keep-alive probes. */
    tcpKeepaliveMs: number;
    /** How long an idle connection is kept. */
    connectionIdleMs: number;
  };
  /** Runs when a connection is cut because it counts as lost. Default: nothing. */
  onLost?: (why: string, address: string) => void;
  /** Takes over connections that ask for another protocol; all others get a plain response. Default: none. */
  upgrade?: Upgrade;
  /** Answers an HTTP/2 request on its stream, or returns false: `answer` gets it then. Default: none. */
  answerStream?: AnswerStream;
  /** The requests that are answered while the port closes; all others get 503. Default: none. */
  whileClosing?: (request: Http2ServerRequest) => boolean;
}

/** An open port. */
export interface OnePort {
  /** As "http://127.0.0.1:34904". */
  url: string;
  port: number;
  /** Uses this key and certificate for further connections of a port with TLS; open connections keep theirs. */
  setTls(tls: SecureContextOptions): void;
  /** Still takes calls, but closes each connection of HTTP/1.1 with its next response. */
  drain(): void;
  /**
   * Refuses further calls, and resolves when the calls under way have ended, or have been cut after `graceMs`, and the
   * port is free. The services have to end their streams themselves. Must be called once at most.
   */
  close(graceMs: number): Promise<void>;
}

/** The limit on the number of headers that Node has for HTTP/1.1, for HTTP/2 too. */
const MAX_HEADERS = 2000;

/** How often a closing port closes the connections of HTTP/1.1 that have become idle, in milliseconds. */
const CLOSE_IDLE_MS = 20;

const KEEPALIVE = {
  pingMs: 10_000,
  pingTimeoutMs: 10_000,
  headersTimeoutMs: 60_000,
  tcpKeepaliveMs: 15_000,
  connectionIdleMs: 300_000,
};

/** The response to an HTTP client that calls a port with TLS without TLS. */
const TLS_REQUIRED =
  "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\n" +
  "this port speaks TLS: call it by https://\n";

/** The response to a client that asks for another protocol while the port closes. */
const CLOSING = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/**
 * Serves HTTP/1.1 and HTTP/2 on one port: told apart by ALPN with TLS, and by the first bytes of a connection without.
 */
export async function openPort(answer: Answer, options: OnePortOptions): Promise<OnePort> {
  const port = new Port(answer, options);
  return port.listen(options.host, options.port);
}

class Port {
  readonly #answer: Answer;
  readonly #options: Required<Pick<OnePortOptions, "connections" | "keepalive" | "onLost" | "whileClosing">>;
  readonly #answerStream: AnswerStream | undefined;
  readonly #upgrade: Upgrade | undefined;
  readonly #sockets = new Set<Socket>();
  /** The listener of all sockets for "close": there may be thousands of them. */
  readonly #forget: (this: Socket) => void;
  readonly #keepalive: SessionKeepalive;
  readonly #calls = new OpenCalls();
  readonly #pipelined = new PipelinedResponses();
  readonly #http1: Server;
  readonly #http2: Http2Server;
  readonly #tls: TlsServer | undefined;
  readonly #tcp: TcpServer;
  #isDraining = false;
  /** Whether all calls have ended, so that no further connection is served. */
  #isShut = false;

  constructor(answer: Answer, options: OnePortOptions) {
    const { callsPerConnection = 1000, headerBytes = 64 * 1024, tls } = options;
    this.#answer = answer;
    this.#answerStream = options.answerStream;
    this.#upgrade = options.upgrade;
    this.#options = {
      connections: options.connections ?? new Connections(10_000),
      keepalive: options.keepalive ?? KEEPALIVE,
      onLost: options.onLost ?? (() => {}),
      whileClosing: options.whileClosing ?? (() => false),
    };
    const sockets = this.#sockets;
    this.#forget = function () {
      sockets.delete(this);
    };
    this.#keepalive = new SessionKeepalive(this.#options.keepalive, (session, socket, why) => {
      this.#options.onLost(why, socket.remoteAddress ?? "");
      session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
      socket.destroy();
    });
    this.#http1 = this.#createHttp1(headerBytes);
    this.#http2 = this.#createHttp2(headerBytes, callsPerConnection);
    this.#tls = tls && this.#createTls(tls);
    const keepAliveInitialDelay = this.#options.keepalive.tcpKeepaliveMs;
    this.#tcp = createTcp({ noDelay: true, keepAlive: true, keepAliveInitialDelay }, (socket) =>
      this.#accept(socket),
    );
  }

  async listen(host: string, port: number): Promise<OnePort> {
    await new Promise<void>((resolve, reject) => {
      this.#tcp.once("error", reject);
      this.#tcp.listen({ host, port }, () => resolve());
    });
    const { port: boundPort } = this.#tcp.address() as AddressInfo;
    const urlHost = host.includes(":") ? `[${host}]` : host;
    return {
      url: `${this.#tls ? "https" : "http"}://${urlHost}:${boundPort}`,
      port: boundPort,
      setTls: (tls) => this.#tls?.setSecureContext(tls),
      drain: () => {
        this.#isDraining = true;
      },
      close: (graceMs) => this.#close(graceMs),
    };
  }

  #createHttp1(headerBytes: number): Server {
    const { connectionIdleMs, headersTimeoutMs } = this.#options.keepalive;
    const server = createHttp1(
      {
        maxHeaderSize: headerBytes,
        // Longer than proxies keep theirs: else they send a call just as its connection is closed. When there are too
        // many connections, idle ones are closed earlier.
        keepAliveTimeout: connectionIdleMs,
        headersTimeout: headersTimeoutMs,
        connectionsCheckingInterval: Math.min(30_000, headersTimeoutMs / 2),
        // An upload, or a stream of requests, may last for as long as its client wants.
        requestTimeout: 0,
      },
      this.#handle as unknown as RequestListener,
    );
    server.on("upgrade", (request, socket, head) => {
      if (!this.#upgrade?.wants(request)) {
        declineUpgrade(server, request, socket, head, this.#pipelined).catch(() => socket.destroy());
      } else if (this.#calls.isClosing) socket.end(CLOSING);
      else this.#upgrade.take(request, socket, head);
    });
    // The server itself never listens, so the event has to start its check of slow and idle connections.
    server.emit("listening");
    return server;
  }

  #createHttp2(headerBytes: number, callsPerConnection: number): Http2Server {
    const settings = {
      maxConcurrentStreams: callsPerConnection,
      maxHeaderListSize: headerBytes,
      initialWindowSize: WINDOW_BYTES,
    };
    const options = { settings, maxHeaderListPairs: MAX_HEADERS, maxSessionMemory: UNLIMITED_SESSION_MB };
    const server = createHttp2(options, this.#handle);
    // A client that vanishes is an error of its session only; without a listener it would end the process.
    server.on("sessionError", () => {});
    this.#offerStreams(server);
    return server;
  }

  /** Offers each stream to `answerStream`, before Node's own listener makes request and response objects of it. */
  #offerStreams(server: Http2Server): void {
    const [toRequest] = server.listeners("stream") as StreamListener[];
    if (!this.#answerStream || !toRequest) return;
    server.removeListener("stream", toRequest);
    const offer: StreamListener = (stream, headers, ...rest) => {
      if (!this.#takes(stream, headers)) toRequest.call(server, stream, headers, ...rest);
    };
    server.on("stream", offer);
  }

  #takes(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): boolean {
    const { session } = stream;
    if (!session || this.#calls.isClosing) return false;
    const connection = this.#options.connections.at(session, session.socket);
    if (connection.isExtra || !this.#answerStream?.(stream, headers, connection)) return false;
    connection.begin();
    this.#calls.add(stream);
    stream.once("close", () => connection.end());
    return true;
  }

  /** The TLS side of the port: it never listens itself, and takes the connections that are handed to it. */
  #createTls(options: SecureContextOptions): TlsServer {
    const ALPNProtocols = ["h2", "http/1.1"];
    const onConnection = (socket: TLSSocket) => {
      if (this.#isShut) return void socket.destroy();
      this.#track(socket);
      this.#serve(socket, socket.alpnProtocol === "h2");
    };
    const server = createTls({ ...options, ALPNProtocols, handshakeTimeout: SILENT_MS }, onConnection);
    // A client that does not trust the certificate, or has no version of TLS in common, only loses its connection.
    server.on("tlsClientError", (_error, socket) => socket.destroy());
    return server;
  }

  #accept(socket: Socket): void {
    if (!this.#options.connections.add(socket)) return;
    this.#track(socket);
    detectProtocol(socket, (protocol) => {
      if (!this.#tls) this.#serve(socket, protocol === "http2");
      else if (protocol === "tls") this.#tls.emit("connection", socket);
      else if (protocol === "http1") socket.resume().end(TLS_REQUIRED);
      else socket.destroy();
    });
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", this.#forget);
    socket.on("error", destroySocket);
  }

  #serve(socket: Socket, isHttp2: boolean): void {
    if (isHttp2) this.#http2.once("session", (session) => this.#watch(session, socket));
    (isHttp2 ? this.#http2 : this.#http1).emit("connection", socket);
  }

  #watch(session: ServerHttp2Session, socket: Socket): void {
    openWindow(session);
    const connection = this.#options.connections.at(session, socket);
    connection.session = session;
    this.#keepalive.add(session, socket, connection);
    session.on("close", () => this.#keepalive.delete(session));
  }

  /** Answers a request, or refuses it while the port closes. */
  readonly #handle: Answer = (request, response) => {
    const { connections, whileClosing } = this.#options;
    connections.endExtra(request, response);
    const connection = connections.of(request);
    connection.begin();
    if (request.httpVersionMajor === 1) this.#pipelined.add(request.socket, response);
    response.once("close", () => connection.end());
    if (this.#isDraining && request.httpVersionMajor === 1) response.setHeader("connection", "close");
    if (!this.#calls.isClosing) {
      this.#calls.add(response);
      return this.#answer(request, response);
    }
    if (whileClosing(request)) return this.#answer(request, response);
    response.writeHead(503, { "content-type": "text/plain", [UNPROCESSED_HEADER]: "true" });
    response.end("the server is closing\n");
    request.resume();
  };

  async #close(graceMs: number): Promise<void> {
    this.#isDraining = true;
    const cut = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, graceMs);
    // Every HTTP/2 connection takes no more calls from now on, and closes with its last one. Its GOAWAY names the last
    // call that was taken, so that clients may send again what they sent after it. gRPC's servers send another GOAWAY
    // before, which names none, to spare clients that; but Node takes no calls after any GOAWAY.
    for (const session of this.#keepalive.sessions) session.close();
    // The port stays open until all calls have ended, so that clients that connect meanwhile get an answer.
    await this.#calls.whenEnded();
    this.#isShut = true;
    const closed = new Promise<void>((resolve) => this.#tcp.close(() => resolve()));
    for (const session of this.#keepalive.sessions) session.close();
    // Some clients connect ahead of their next call: fetch does after a call that it has abandoned.
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
    // Node reports no event when a connection of HTTP/1.1 becomes idle.
    const closeIdle = setInterval(() => this.#http1.closeIdleConnections(), CLOSE_IDLE_MS);
    this.#http1.closeIdleConnections();
    await closed;
    clearTimeout(cut);
    clearInterval(closeIdle);
  }
}

function destroySocket(this: Socket): void {
  this.destroy();
}
