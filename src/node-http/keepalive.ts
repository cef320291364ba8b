import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { unsentBytes } from "./unsent.js";

/** When an HTTP/2 connection counts as lost, in milliseconds. */
export interface KeepaliveOptions {
  /** The silence on a connection in use after which its client gets a PING. */
  pingMs: number;
  /** How long the client may send nothing after that. */
  pingTimeoutMs: number;
  /** How long the first SETTINGS may take, and the answer to a PING if the client sends other bytes. */
  headersTimeoutMs: number;
}

/** The state of a connection that keepalive depends on. */
interface WatchedConnection {
  readonly isIdle: boolean;
}

/**
 * Finds the HTTP/2 connections whose clients have vanished, or do not end a header block. A busy or slow client is
 * kept: sending bytes, or receiving bytes that had to wait, counts as an answer. One timer checks all connections.
 */
export class SessionKeepalive {
  readonly #options: KeepaliveOptions;
  readonly #stepMs: number;
  readonly #onLost: (session: ServerHttp2Session, socket: Socket, why: string) => void;
  readonly #watched = new Map<ServerHttp2Session, WatchedSession>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `onLost` is called with the reason, and destroys the session. */
  constructor(
    options: KeepaliveOptions,
    onLost: (session: ServerHttp2Session, socket: Socket, why: string) => void,
  ) {
    const { pingMs, pingTimeoutMs, headersTimeoutMs } = options;
    this.#options = options;
    this.#stepMs = Math.min(pingMs, pingTimeoutMs, headersTimeoutMs) / 4;
    this.#onLost = onLost;
  }

  /** The sessions that are open. */
  get sessions(): Iterable<ServerHttp2Session> {
    return this.#watched.keys();
  }

  add(session: ServerHttp2Session, socket: Socket, connection: WatchedConnection): void {
    this.#watched.set(session, new WatchedSession(session, socket, connection));
    this.#timer ??= setInterval(() => this.#check(), this.#stepMs).unref();
  }

  delete(session: ServerHttp2Session): void {
    this.#watched.delete(session);
    if (this.#watched.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #check(): void {
    for (const [session, watched] of this.#watched) {
      const why = watched.check(this.#stepMs, this.#options);
      if (why !== undefined) this.#onLost(session, watched.socket, why);
    }
  }
}

/** One connection. Its fields count in steps: time in which this process was suspended is no silence of the client. */
class WatchedSession {
  readonly socket: Socket;
  readonly #session: ServerHttp2Session;
  readonly #connection: WatchedConnection;
  #bytesRead = 0;
  #unsent = 0;
  #silentMs = 0;
  #unansweredMs = 0;
  #pingedMs: number | undefined;
  #hasSettings = false;
  /** Whether no check has run yet: the first one comes less than a step after the beginning. */
  #isNew = true;

  constructor(session: ServerHttp2Session, socket: Socket, connection: WatchedConnection) {
    this.#session = session;
    this.socket = socket;
    this.#connection = connection;
    session.once("remoteSettings", () => {
      this.#hasSettings = true;
    });
  }

  /** Checks the connection once more after a step. Returns the reason why it is lost; undefined if it seems alive. */
  check(stepMs: number, options: KeepaliveOptions): string | undefined {
    if (this.#isNew) {
      this.#isNew = false;
      return undefined;
    }
    this.#silentMs += stepMs;
    this.#unansweredMs += stepMs;
    if (this.#pingedMs !== undefined) this.#pingedMs += stepMs;
    const { socket } = this;
    const unsent = unsentBytes(socket);
    // Bytes that the kernel accepts at once say nothing about the client.
    const isReceiving = this.#unsent > 0 && unsent !== this.#unsent;
    if (isReceiving || socket.bytesRead !== this.#bytesRead) this.#silentMs = 0;
    this.#bytesRead = socket.bytesRead;
    this.#unsent = unsent;
    const why = this.#lostReason(options);
    if (why !== undefined) return why;
    const isSilent = this.#silentMs >= options.pingMs && !this.#connection.isIdle;
    const isDue = isSilent || this.#unansweredMs >= options.headersTimeoutMs;
    if (this.#hasSettings && this.#pingedMs === undefined && isDue) this.#ping();
    return undefined;
  }

  #ping(): void {
    this.#pingedMs = 0;
    this.#session.ping((error) => {
      if (error) return;
      this.#pingedMs = undefined;
      this.#silentMs = this.#unansweredMs = 0;
    });
  }

  #lostReason({ pingTimeoutMs, headersTimeoutMs }: KeepaliveOptions): string | undefined {
    const pingedMs = this.#pingedMs;
    if (!this.#hasSettings) {
      return this.#unansweredMs >= headersTimeoutMs ? "its client sent no SETTINGS" : undefined;
    }
    if (pingedMs === undefined) return undefined;
    if (pingedMs >= pingTimeoutMs && this.#silentMs >= pingTimeoutMs) {
      return `its client was silent for ${Math.round(this.#silentMs)} ms and answered no PING`;
    }
    // Within a header block a client cannot answer a PING either.
    if (pingedMs < headersTimeoutMs) return undefined;
    return `its client sends, and answered no PING for ${Math.round(pingedMs)} ms: a header block that does not end`;
  }
}
