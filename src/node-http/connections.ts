import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Socket } from "node:net";
import { runAfter } from "../lib/timer.js";

/** How many connections more than there may be are kept for as long as it takes to say so; others are cut at once. */
const TOLD = 100;

/** For how long a connection is not given up for a new one, so that it can send its first call. */
const FIRST_CALL_MS = 1000;

/** How long one more connection than there may be can take to ask why. */
const EXTRA_MS = 10_000;

/** How long a connection may take to close by itself. */
const CLOSE_MS = 1000;

/** One connection of a port. */
export class Connection {
  /** What its calls use of the server's limits. The server counts it. */
  readonly usage = { calls: 0, identifiedCalls: 0, arrivingBytes: 0, leavingBytes: 0, waitingBytes: 0 };
  /** Whether it is one more than there may be: all of its calls are refused. */
  readonly isExtra: boolean;
  readonly socket: Pick<Socket, "destroy" | "destroyed" | "once">;
  /** Since when it is idle, or, where it is not, has not been. By performance.now(). */
  sinceMs = performance.now();
  /** Closes it in the way of its protocol, once it is idle. */
  close: () => void;
  readonly #onChange: (connection: Connection) => void;
  #uses = 0;

  constructor(socket: Connection["socket"], isExtra: boolean, onChange: (connection: Connection) => void) {
    this.socket = socket;
    this.isExtra = isExtra;
    this.#onChange = onChange;
    this.close = () => void socket.destroy();
  }

  /** Whether no request is answered on it and no tunnel needs it. */
  get isIdle(): boolean {
    return this.#uses === 0;
  }

  /** It is used until the matching end(). */
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
 * The connections of a port, of which there may be only so many. Where there are as many, the one that has been idle for
 * longest is closed for a new one; where none is idle, one whose callers have shown no credentials. Without such a one
 * the new connection is told so, and closed.
 */
export class Connections {
  readonly #most: number;
  readonly #idleMs: number;
  readonly #open = new Set<Connection>();
  /** In the order in which they became idle. */
  readonly #idle = new Set<Connection>();
  /** By the client's address: with TLS, calls come by another socket than the one that was accepted. */
  readonly #byAddress = new Map<string, Connection>();
  readonly #known = new WeakMap<object, Connection>();
  #sockets = 0;
  #isSweepPlanned = false;

  /** `idleMs`: for how long a connection that nothing uses is kept. Default: for ever. */
  constructor(most: number, idleMs = Number.POSITIVE_INFINITY) {
    this.#most = most;
    this.#idleMs = idleMs;
  }

  /** Takes in a connection, or cuts it: false. */
  add(socket: Socket): boolean {
    if (this.#sockets >= this.#most + TOLD) {
      socket.destroy();
      return false;
    }
    if (this.#open.size >= this.#most) this.#giveUpOne();
    const connection = new Connection(socket, this.#open.size >= this.#most, this.#changed);
    const address = addressOf(socket);
    this.#byAddress.set(address, connection);
    this.#sockets++;
    if (connection.isExtra) {
      cutAfter(EXTRA_MS, socket);
    } else {
      this.#open.add(connection);
      this.#changed(connection);
    }
    socket.once("close", () => {
      this.#sockets--;
      this.#forget(connection);
      this.#byAddress.delete(address);
    });
    return true;
  }

  /** The connection that the request came by. */
  of({ httpVersionMajor, socket, stream }: Http2ServerRequest): Connection {
    return this.at((httpVersionMajor === 2 && stream.session) || socket, socket);
  }

  /** The connection that `key`, its session or its socket, stands for. */
  at(key: object, socket: Pick<Socket, "destroy" | "remoteAddress" | "remotePort">): Connection {
    let connection = this.#known.get(key);
    if (!connection) {
      connection =
        this.#byAddress.get(addressOf(socket)) ?? new Connection(socket as Socket, false, () => {});
      this.#known.set(key, connection);
    }
    return connection;
  }

  /** Makes the response the last one of its connection if that is one too many. */
  endExtra(request: Http2ServerRequest, response: Http2ServerResponse): void {
    if (!this.of(request).isExtra) return;
    if (request.httpVersionMajor === 1) {
      response.setHeader("connection", "close");
    } else {
      const { session } = request.stream;
      // Some Node (20.19.0 for one) tells of the close in the midst of sending, and a session that is closed there and
      // then drops the rest of the answer.
      response.once("close", () => setImmediate(() => session?.close()));
    }
  }

  readonly #changed = (connection: Connection): void => {
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

  /** Closes the connection that is missed least, if there is one. */
  #giveUpOne(): void {
    const isFree = ({ sinceMs }: Connection) => performance.now() - sinceMs >= FIRST_CALL_MS;
    const [longestIdle] = this.#idle;
    const least = longestIdle && isFree(longestIdle) ? longestIdle : this.#firstUnidentified(isFree);
    if (least) this.#close(least);
  }

  #firstUnidentified(isFree: (connection: Connection) => boolean): Connection | undefined {
    for (const each of this.#open) {
      if (!each.isIdle && each.usage.identifiedCalls === 0 && isFree(each)) return each;
    }
    return undefined;
  }

  #close(connection: Connection): void {
    this.#forget(connection);
    connection.close();
    cutAfter(CLOSE_MS, connection.socket);
  }

  #forget(connection: Connection): void {
    this.#open.delete(connection);
    this.#idle.delete(connection);
  }
}

/** Destroys a socket that is still there after so many milliseconds. */
function cutAfter(delayMs: number, socket: Connection["socket"]): void {
  if (socket.destroyed) return;
  socket.once(
    "close",
    runAfter(delayMs, () => void socket.destroy()),
  );
}

const addressOf = ({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">): string =>
  `${remoteAddress} ${remotePort}`;
