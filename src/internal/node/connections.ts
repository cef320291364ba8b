import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Socket } from "node:net";

/** How many connections more than there may be are kept for as long as it takes to say so; others are cut at once. */
const TOLD = 100;

/** What the calls of one connection share. */
type Connection = { calls: number; isExtra: boolean };

/** The connections of a port, of which there may be only so many: further ones are told, and closed. */
export class Connections {
  readonly #most: number;
  readonly #open = new Set<Socket>();
  /** By the client's address: with TLS, calls come by another socket than the one that was accepted. */
  readonly #extra = new Set<string>();
  readonly #known = new WeakMap<object, Connection>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Takes in a connection, or cuts it: false. */
  add(socket: Socket): boolean {
    const size = this.#open.size;
    if (size >= this.#most + TOLD) {
      socket.destroy();
      return false;
    }
    const address = addressOf(socket);
    if (size >= this.#most) this.#extra.add(address);
    this.#open.add(socket);
    socket.once("close", () => {
      this.#open.delete(socket);
      this.#extra.delete(address);
    });
    return true;
  }

  /** The connection that the request came by. */
  of({ httpVersionMajor, socket, stream }: Http2ServerRequest): Connection {
    const key = (httpVersionMajor === 2 && stream.session) || socket;
    let connection = this.#known.get(key);
    if (!connection) {
      connection = { calls: 0, isExtra: this.#extra.has(addressOf(socket)) };
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
}

const addressOf = ({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">): string =>
  `${remoteAddress} ${remotePort}`;
