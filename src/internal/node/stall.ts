import type { Http2ServerRequest } from "node:http2";
import { unsentBytes } from "./unsent.js";

/** Fewer bytes than that are no progress of a connection: a PING is sent on one that stands, too. */
const PROGRESS_BYTES = 1024;

/**
 * Tells when nothing of an answer could be sent for too long. Over HTTP/2 a stream that waits for its turn on a slow
 * connection is not stalled while the connection moves; one whose own window is closed is, whatever the others do.
 */
export class Stall {
  readonly #request: Http2ServerRequest;
  readonly #mostMs: number;
  #movedAtMs = performance.now();
  #written = 0;
  #unsent = 0;

  /** `mostMs`: for how long nothing may be sent. */
  constructor(request: Http2ServerRequest, mostMs: number) {
    this.#request = request;
    this.#mostMs = mostMs;
    this.#written = request.socket.bytesWritten;
  }

  /** Something of the answer has been sent. */
  moved(): void {
    this.#movedAtMs = performance.now();
  }

  /** Looks at the connection; to be called several times within `mostMs`. */
  isStalled(): boolean {
    const { socket } = this.#request;
    const nowMs = performance.now();
    const unsent = unsentBytes(socket);
    const drains = this.#unsent > 0 && unsent !== this.#unsent;
    const isMoving = drains || socket.bytesWritten - this.#written >= PROGRESS_BYTES;
    this.#unsent = unsent;
    if (isMoving) this.#written = socket.bytesWritten;
    if (isMoving && this.#waitsForConnection(unsent)) this.#movedAtMs = nowMs;
    return nowMs - this.#movedAtMs >= this.#mostMs;
  }

  #waitsForConnection(unsent: number): boolean {
    if (this.#request.httpVersionMajor === 1 || unsent > 0) return true;
    return (this.#request.stream.session?.state.remoteWindowSize ?? 0) <= 0;
  }
}
