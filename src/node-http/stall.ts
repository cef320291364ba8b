import type { Http2ServerRequest } from "node:http2";
import { unsentBytes } from "./unsent.js";

/** Fewer sent bytes are no progress of a connection: PINGs are sent on a stalled one, too. */
const PROGRESS_BYTES = 1024;

/**
 * Counts for how long nothing of a response could be sent. Over HTTP/2, a stream that waits for its turn on a slow
 * connection is not stalled while the connection makes progress; a stream whose own window is closed is stalled,
 * whatever the others do.
 */
export class Stall {
  readonly #request: Http2ServerRequest;
  /** Checks since something was sent. Time in which this process was suspended does not count. */
  #checks = 0;
  #written: number;
  #unsent = 0;

  constructor(request: Http2ServerRequest) {
    this.#request = request;
    this.#written = request.socket.bytesWritten;
  }

  /** Notes that something of the response has been sent. */
  reset(): void {
    this.#checks = 0;
  }

  /** Checks the connection, and returns for how many checks nothing could be sent. */
  check(): number {
    const { socket } = this.#request;
    const unsent = unsentBytes(socket);
    const drains = this.#unsent > 0 && unsent !== this.#unsent;
    const isMoving = drains || socket.bytesWritten - this.#written >= PROGRESS_BYTES;
    this.#unsent = unsent;
    if (isMoving) this.#written = socket.bytesWritten;
    if (isMoving && this.#waitsForConnection(unsent)) this.#checks = 0;
    return this.#checks++;
  }

  #waitsForConnection(unsent: number): boolean {
    if (this.#request.httpVersionMajor === 1 || unsent > 0) return true;
    return (this.#request.stream.session?.state.remoteWindowSize ?? 0) <= 0;
  }
}
