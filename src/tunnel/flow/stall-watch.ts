import { runAfter } from "../../lib/timer.js";
import { FRAME_COST } from "./frame-cost.js";
import type { Stream } from "./stream.js";

/** How often streams are checked within the longest stall. */
const CHECKS_PER_STALL = 8;

/**
 * Finds streams of which nothing could be sent for too long. A stream that has credit and waits for a slow connection
 * is not stalled as long as the connection sends; one without credit is, whatever the others do.
 */
export class StallWatch {
  readonly #maxStallMs: number;
  readonly #bufferedBytes: () => number;
  readonly #onStalled: (stream: Stream) => void;
  /**
   * The streams that wait, and how often each was checked since it last sent. Checks are counted instead of time, so
   * that a pause of this process is no stall.
   */
  readonly #checks = new Map<Stream, number>();
  #connectionChecks = 0;
  #bufferedBefore = 0;
  #callOff: (() => void) | undefined;

  /** `bufferedBytes` returns how many bytes wait in the socket. */
  constructor(maxStallMs: number, bufferedBytes: () => number, onStalled: (stream: Stream) => void) {
    this.#maxStallMs = maxStallMs;
    this.#bufferedBytes = bufferedBytes;
    this.#onStalled = onStalled;
  }

  /** Notes that the bytes of the stream that wait to be sent have changed by `change`. */
  update(stream: Stream, change: number): void {
    if (!stream.hasPending) this.#checks.delete(stream);
    else if (change < 0 || !this.#checks.has(stream)) this.#checks.set(stream, 0);
    // Bytes that are dropped with their stream have not been sent.
    if (change < 0 && !stream.isClosed) this.#connectionChecks = 0;
    this.#schedule();
  }

  stop(): void {
    this.#callOff?.();
    this.#checks.clear();
  }

  #schedule(): void {
    if (this.#checks.size > 0) this.#callOff ??= runAfter(this.#maxStallMs / CHECKS_PER_STALL, this.#check);
  }

  readonly #check = (): void => {
    this.#callOff = undefined;
    const buffered = this.#bufferedBytes();
    this.#connectionChecks = buffered < this.#bufferedBefore ? 0 : this.#connectionChecks + 1;
    this.#bufferedBefore = buffered;
    for (const [stream, before] of this.#checks) {
      const checks = before + 1;
      this.#checks.set(stream, checks);
      const hasCredit = stream.sendCredit > FRAME_COST;
      if (Math.min(checks, hasCredit ? this.#connectionChecks : checks) <= CHECKS_PER_STALL) continue;
      this.#checks.delete(stream);
      this.#onStalled(stream);
    }
    this.#schedule();
  };
}
