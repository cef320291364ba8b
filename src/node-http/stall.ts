import type { Http2ServerRequest } from "node:http2";
import { unsentBytes } from "./unsent.js";

/** Fewer bytes than that are no progress of a connection: a PING is sent on one that stands, too. */
const PROGRESS_BYTES = 1024;

/**
 * Tells for how long nothing of an answer could be sent. Over HTTP/2 a stream that waits for its turn on a slow
 * connection is not stalled while the connection moves; one whose own window is closed is, whatever the others do.
 */
export class Stall {
  readonly #request: Http2ServerRequest;
  /** Looks since something was sent: time in which this process stood still is no standstill of the answer. */
  #looks = 0;
  #written: number;
  #unsent = 0;

  constructor(request: Http2ServerRequest) {
    this.#request = request;
    this.#written = request.socket.bytesWritten;
  }

  /** Something of the answer has been sent. */
  moved(): void {
    this.#looks = 0;
  }

  /** Looks at the connection; tells for how many looks nothing could be sent. */
  look(): number {
    const { socket } = this.#request;
    const unsent = unsentBytes(socket);
    const drains = this.#unsent > 0 && unsent !== this.#unsent;
    const isMoving = drains || socket.bytesWritten - this.#written >= PROGRESS_BYTES;
    this.#unsent = unsent;
    if (isMoving) this.#written = socket.bytesWritten;
    if (isMoving && this.#waitsForConnection(unsent)) this.#looks = 0;
    return this.#looks++;
  }

  #waitsForConnection(unsent: number): boolean {
    if (this.#request.httpVersionMajor === 1 || unsent > 0) return true;
    return (this.#request.stream.session?.state.remoteWindowSize ?? 0) <= 0;
  }
}
