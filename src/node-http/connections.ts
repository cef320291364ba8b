import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Socket } from "node:net";
import { runAfter } from "../lib/timer.js";

/** How many connections above the limit are kept until they have been refused; further ones are cut at once. */
const MAX_EXTRA = 100;

/** How long a connection is not closed for a new one, so that it can send its first call, in milliseconds. */
const FIRST_CALL_MS = 1000;

/** How long a connection above the limit may stay open to read its refusal, in milliseconds. */
const EXTRA_MS = 10_000;

/** How long a connection may take to close by itself, in milliseconds. */
const CLOSE_MS = 1000;

/** One connection of a port. */
export class PortConnection {
  /** How much of the server's limits its calls use. The server counts it. */
  readonly usage = { calls: 0, identifiedCalls: 0, arrivingBytes: 0, leavingBytes: 0, waitingBytes: 0 };
  /** Whether it exceeds the limit: all of its calls are refused. */
  readonly isExtra: boolean;
  readonly socket: Pick<Socket, "destroy" | "destroyed" | "once">;
  /** When it became idle, or stopped to be idle, by performance.now(). */
  sinceMs = performance.now();
  /** Closes it in the way of its protocol. Default: destroys its socket. */
  session: { close(): void } | undefined;
  readonly #onChange: (connection: PortConnection) => void;
  #uses = 0;

  constructor(
    socket: PortConnection["socket"],
    isExtra: boolean,
    onChange: (connection: PortConnection) => void,
  ) {
    this.socket = socket;
    this.isExtra = isExtra;
    this.#onChange = onChange;
  }

  close(): void {
    if (this.session) this.session.close();
    else this.socket.destroy();
  }

  /** Whether it has no open requests and no tunnel uses it. */
  get isIdle(): boolean {
    return this.#uses === 0;
  }

  /** Marks it as used until the matching end(). */
  begin(): void {
    if (this.#uses++ === 0) this.#changed();
  }

  end(): void {
    if (--this.#uses === 0) this.#changed();
  }

  #changed(): void {
    this.sinceMs = performance.now();
    this.#onChange(this);
  }
}

/**
 * The connections of a port, up to a limit. At the limit, a new connection makes the one close that has been idle for
 * longest; if none is idle, one whose callers have shown no credentials. If there is none either, the new connection
 * is refused: it gets the reason, and is closed.
 */
export class Connections {
  readonly #most: number;
  readonly #idleMs: number;
  readonly #open = new Set<PortConnection>();
  /** The idle connections, in the order in which they became idle. */
  readonly #idle = new Set<PortConnection>();
  /** By the client's address: with TLS, calls come by another socket than the accepted one. */
  readonly #byAddress = new Map<string, PortConnection>();
  readonly #known = new WeakMap<object, PortConnection>();
  #sockets = 0;
  #isSweepPlanned = false;

  /** An idle connection is closed after `idleMs`. Default: never. */
  constructor(most: number, idleMs = Number.POSITIVE_INFINITY) {
    this.#most = most;
    this.#idleMs = idleMs;
  }

  /** Adds a connection; cuts it and returns false if there are far too many. */
  add(socket: Socket): boolean {
    if (this.#sockets >= this.#most + MAX_EXTRA) {
      socket.destroy();
      return false;
    }
    if (this.#open.size >= this.#most) this.#closeLeastUseful();
    const connection = new PortConnection(socket, this.#open.size >= this.#most, this.#changed);
    const address = addressOf(socket);
    this.#byAddress.set(address, connection);
    this.#sockets++;
    if (connection.isExtra) {
      cutAfter(EXTRA_MS, socket);
    } else {
      this.#open.add(connection);
      this.#changed(connection);
    }
    socket.on("close", () => {
      this.#sockets--;
      this.#forget(connection);
      this.#byAddress.delete(address);
    });
    return true;
  }

  /** The connection that the request came by. */
  of({ httpVersionMajor, socket, stream }: Http2ServerRequest): PortConnection {
    return this.at((httpVersionMajor === 2 && stream.session) || socket, socket);
  }

  /** The connection with the HTTP/2 session or the socket `key`. */
  at(key: object, socket: Pick<Socket, "destroy" | "remoteAddress" | "remotePort">): PortConnection {
    let connection = this.#known.get(key);
    if (!connection) {
      connection =
        this.#byAddress.get(addressOf(socket)) ?? new PortConnection(socket as Socket, false, () => {});
      this.#known.set(key, connection);
    }
    return connection;
  }

  /** Closes the connection after this response if it exceeds the limit. */
  endExtra(request: Http2ServerRequest, response: Http2ServerResponse): void {
    if (!this.of(request).isExtra) return;
    if (request.httpVersionMajor === 1) {
      response.setHeader("connection", "close");
    } else {
      const { session } = request.stream;
      // Some versions of Node (like 20.19.0) emit "close" while they still send: a session that closes at once
      // drops the rest of the response.
      response.once("close", () => setImmediate(() => session?.close()));
    }
  }

  readonly #changed = (connection: PortConnection): void => {
    this.#idle.delete(connection);
    if (!connection.isIdle || !this.#open.has(connection)) return;
    this.#idle.add(connection);
    this.#planSweep();
  };

  #planSweep(): void {
    const [first] = this.#idle;
    if (this.#isSweepPlanned || !first || this.#idleMs === Number.POSITIVE_INFINITY) return;
    this.#isSweepPlanned = true;
    runAfter(first.sinceMs + this.#idleMs - performance.now(), () => {
      this.#isSweepPlanned = false;
      for (const connection of this.#idle) {
        if (performance.now() - connection.sinceMs < this.#idleMs) break;
        this.#close(connection);
      }
      this.#planSweep();
    });
  }

  /** Closes an idle connection, else one without identified callers, if there is one that may be closed. */
  #closeLeastUseful(): void {
    const mayClose = ({ sinceMs }: PortConnection) => performance.now() - sinceMs >= FIRST_CALL_MS;
    const [longestIdle] = this.#idle;
    const candidate = longestIdle && mayClose(longestIdle) ? longestIdle : this.#firstUnidentified(mayClose);
    if (candidate) this.#close(candidate);
  }

  #firstUnidentified(mayClose: (connection: PortConnection) => boolean): PortConnection | undefined {
    for (const each of this.#open) {
      if (!each.isIdle && each.usage.identifiedCalls === 0 && mayClose(each)) return each;
    }
    return undefined;
  }

  #close(connection: PortConnection): void {
    this.#forget(connection);
    connection.close();
    cutAfter(CLOSE_MS, connection.socket);
  }

  #forget(connection: PortConnection): void {
    this.#open.delete(connection);
    this.#idle.delete(connection);
  }
}

/** Destroys a socket that is still open after `delayMs`. */
function cutAfter(delayMs: number, socket: PortConnection["socket"]): void {
  if (socket.destroyed) return;
  socket.once(
    "close",
    runAfter(delayMs, () => void socket.destroy()),
  );
}

const addressOf = ({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">): string =>
  `${remoteAddress} ${remotePort}`;
