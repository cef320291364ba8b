import type { ClientHttp2Stream, OutgoingHttpHeaders } from "node:http2";
import type { SecureContextOptions } from "node:tls";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import type { ConnectTransportOptions } from "@connectrpc/connect-node";
import { canceled } from "../rpc/canceled.js";
import { TICKET_HEADER } from "../rpc/extension-headers.js";
import { needsNewConnection } from "../rpc/new-connection.js";
import { isPlainBinary, UncopiedMessages } from "../rpc/uncopied-messages.js";
import { markUnprocessed } from "../rpc/unprocessed.js";
import { fixGrpcMessage } from "./grpc-message.js";
import { Http2Connection, KEEPALIVE, type Keepalive } from "./http2-connection.js";
import { type Attempt, watchAnswer, withResend } from "./resend.js";

/** The interface by which Connect's transports ask for HTTP/2 streams. */
type SessionManager = NonNullable<Extract<ConnectTransportOptions, { httpVersion: "2" }>["sessionManager"]>;

export interface Http2SessionsOptions {
  /** When a connection counts as lost. Default: KEEPALIVE. */
  keepalive?: Partial<Keepalive>;
  tls?: SecureContextOptions | undefined;
  /** Appended to the error of calls to a server that does not support HTTP/2. */
  advice?: string;
}

/** A call that waits for a connection, or for one of those under way on it to end. */
export interface WaitingCall {
  /** Opens its stream on `connection`. Throws if that has just closed. */
  begin(connection: Http2Connection): void;
  reject(error: unknown): void;
}

/** A connection that received something within so many milliseconds needs no probe. */
const JUST_HEARD_MS = 500;

/**
 * The HTTP/2 connections to one server: usually one, and others that only finish their calls. Calls above the peer's
 * limit on open calls wait in a queue.
 */
export class Http2Sessions implements SessionManager {
  readonly authority: string;
  /** The innermost interceptor of a transport over these connections: it removes canceled calls from the queue. */
  readonly interceptor: Interceptor;
  readonly #host: string;
  readonly #options: Http2SessionsOptions;
  readonly #keepalive: Keepalive;
  readonly #connections = new Set<Http2Connection>();
  readonly #waiting = new Set<WaitingCall>();
  readonly #tickets = new Map<string, { signal: AbortSignal; isFresh: boolean; attempt: Attempt }>();
  #lastTicket = 0;
  #current: { connection: Http2Connection; isReady: boolean } | undefined;

  constructor(url: string, options: Http2SessionsOptions = {}) {
    const { origin, host } = new URL(url);
    this.authority = origin;
    this.#host = host;
    this.#options = options;
    this.#keepalive = { ...KEEPALIVE, ...options.keepalive };
    this.interceptor = (next) => (request) =>
      withResend(request, async (sent, attempt) => {
        const ticket = String(++this.#lastTicket);
        const { signal, contextValues } = sent;
        this.#tickets.set(ticket, { signal, isFresh: contextValues.get(needsNewConnection), attempt });
        sent.header.set(TICKET_HEADER, ticket);
        try {
          if (!sent.stream || !isPlainBinary(sent.header)) return await next(sent);
          const uncopied = new UncopiedMessages();
          attempt.uncopied = uncopied;
          return await next({ ...sent, message: uncopied.split(sent.method.input, sent.message) });
        } finally {
          this.#tickets.delete(ticket);
        }
      });
  }

  request(method: string, path: string, headers: OutgoingHttpHeaders): Promise<ClientHttp2Stream> {
    const { [TICKET_HEADER]: ticket, ...rest } = headers;
    const { signal, isFresh = false, attempt } = this.#tickets.get(String(ticket)) ?? {};
    if (isFresh) this.#avoidSilent();
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(canceled(signal));
      const removeListener = () => signal?.removeEventListener("abort", abort);
      const waiting: WaitingCall = {
        begin(connection) {
          const stream = quietlyClosed(connection.request({ ...rest, ":method": method, ":path": path }));
          removeListener();
          if (attempt) attempt.stream = stream;
          attempt?.uncopied?.joinWrites(stream);
          watchAnswer(stream);
          resolve(stream);
        },
        reject(error) {
          removeListener();
          reject(error);
        },
      };
      const abort = () => {
        this.#waiting.delete(waiting);
        if (signal) waiting.reject(canceled(signal));
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.add(waiting);
      this.#beginWaiting();
    });
  }

  /**
   * Begins a call as soon as a connection takes it. `isFresh`: a connection that has been silent for a while must not
   * be used. leave() makes it leave the queue.
   */
  enqueue(call: WaitingCall, isFresh: boolean): void {
    if (isFresh) this.#avoidSilent();
    // Most calls need not wait. Each that passes through the Set keeps a part of it in memory.
    if (this.#waiting.size === 0 && this.#begin(call)) return;
    this.#waiting.add(call);
    this.#beginWaiting();
  }

  leave(call: WaitingCall): void {
    this.#waiting.delete(call);
  }

  notifyResponseByteRead(): void {}

  /** Closes the connections: all calls fail, also those that wait. */
  close(): void {
    const reason = new ConnectError("connection aborted", Code.Canceled);
    this.#current = undefined;
    for (const connection of this.#connections) connection.destroy(reason);
    this.#fail(reason);
  }

  /** Leaves a connection that may have been lost, for a new one. */
  #avoidSilent(): void {
    if (!this.#current?.isReady || this.#current.connection.silentMs <= JUST_HEARD_MS) return;
    const { connection } = this.#current;
    connection.leave();
    void connection.probe();
  }

  #beginWaiting(): void {
    if (this.#waiting.size === 0) return;
    for (const waiting of this.#waiting) {
      const { connection, isReady } = this.#current ?? {};
      if (!connection?.takesCalls) {
        this.#dial();
        return;
      }
      if (!isReady) return;
      if (connection.isDoubtful) void connection.probe();
      if (connection.probing) {
        void connection.probing.then(() => this.#beginWaiting());
        return;
      }
      if (!connection.hasRoom) return;
      this.#waiting.delete(waiting);
      if (!this.#begin(waiting)) this.#waiting.add(waiting);
    }
  }

  /** Begins a call if the connection takes one now. Returns whether it does: otherwise nothing has been sent. */
  #begin(call: WaitingCall): boolean {
    const { connection, isReady } = this.#current ?? {};
    if (!connection?.hasRoom || !isReady || connection.isDoubtful || connection.probing) return false;
    try {
      call.begin(connection);
    } catch (error) {
      // The connection may have just closed.
      if (!connection.takesCalls) return false;
      call.reject(error);
    }
    return true;
  }

  #dial(): void {
    const connection = new Http2Connection({
      authority: this.authority,
      keepalive: this.#keepalive,
      tls: this.#options.tls,
      onRoom: () => this.#beginWaiting(),
      onLeaving: (why) => {
        // As gRPC's keepalive asks of its clients.
        if (why === "pinged too often") this.#keepalive.foreignSilenceMs *= 2;
        if (this.#current?.connection === connection) this.#current = undefined;
      },
      onClosed: () => this.#connections.delete(connection),
    });
    const current = { connection, isReady: false };
    this.#current = current;
    this.#connections.add(connection);
    connection.ready.then(
      () => {
        current.isReady = true;
        this.#beginWaiting();
      },
      (error) => {
        if (this.#current === current) this.#current = undefined;
        this.#fail(this.#unreachable(error));
      },
    );
  }

  #fail(error: unknown): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const call of waiting) call.reject(error);
  }

  #unreachable(error: unknown): ConnectError {
    const isForeign =
      hasCode(error, "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL") || hasCode(error, "ERR_HTTP2_ERROR");
    const why = error instanceof ConnectError ? error.rawMessage : (error as Error).message;
    const text = isForeign
      ? `${this.#host} speaks no HTTP/2${this.#options.advice ?? ""}`
      : `cannot reach ${this.#host}: ${why}`;
    return markUnprocessed(new ConnectError(text, Code.Unavailable, undefined, undefined, error));
  }
}

/**
 * Makes `close(code)` of a canceled call only reset the stream: Node's own ends the request first, so that a server
 * could take an upload that was cut short for complete.
 */
function quietlyClosed(stream: ClientHttp2Stream): ClientHttp2Stream {
  const { close } = stream;
  stream.on("response", fixGrpcMessage).on("trailers", fixGrpcMessage);
  stream.close = (code, callback) => {
    if (code) stream.end = () => stream;
    close.call(stream, code, callback);
  };
  return stream;
}

/** Whether the error, or one of its causes, has Node's `code`. */
function hasCode(error: unknown, code: string): boolean {
  if (!(error instanceof Error)) return false;
  return (error as NodeJS.ErrnoException).code === code || hasCode(error.cause, code);
}
