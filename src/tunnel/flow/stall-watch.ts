import { runAfter } from "../../lib/timer.js";
import { FRAME_COST } from "./frame-cost.js";
import type { Stream } from "./stream.js";

/** How often within the longest standstill the streams are looked at. */
const LOOKS = 8;

/**
 * Finds streams of which nothing could be sent for too long. One that has credit and waits for its turn on a slow
 * connection is not stalled while the connection moves; one without credit is, whatever the others do.
 */
export class StallWatch {
  readonly #mostMs: number;
  readonly #buffered: () => number;
  readonly #onStalled: (stream: Stream) => void;
  /**
   * The streams that wait, and how often they were looked at since something of each was sent: time in which this process
   * stood still is no standstill of theirs.
   */
  readonly #looks = new Map<Stream, number>();
  #connectionLooks = 0;
  #bufferedBefore = 0;
  #stop: (() => void) | undefined;

  /** `buffered`: how many bytes wait in the socket. */
  constructor(mostMs: number, buffered: () => number, onStalled: (stream: Stream) => void) {
    this.#mostMs = mostMs;
    this.#buffered = buffered;
    this.#onStalled = onStalled;
  }

  /** More bytes, or fewer, of the stream wait. */
  update(stream: Stream, change: number): void {
    if (!stream.hasPending) this.#looks.delete(stream);
    else if (change < 0 || !this.#looks.has(stream)) this.#looks.set(stream, 0);
    // What is dropped with its stream is not sent.
    if (change < 0 && !stream.isClosed) this.#connectionLooks = 0;
    this.#plan();
  }

  stop(): void {
    this.#stop?.();
    this.#looks.clear();
  }

  #plan(): void {
    if (this.#looks.size > 0) this.#stop ??= runAfter(this.#mostMs / LOOKS, this.#look);
  }

  readonly #look = (): void => {
    this.#stop = undefined;
    const buffered = this.#buffered();
    this.#connectionLooks = buffered < this.#bufferedBefore ? 0 : this.#connectionLooks + 1;
    this.#bufferedBefore = buffered;
    for (const [stream, before] of this.#looks) {
      const looks = before + 1;
      this.#looks.set(stream, looks);
      const waitsForConnection = stream.sendCredit > FRAME_COST;
      if (Math.min(looks, waitsForConnection ? this.#connectionLooks : looks) <= LOOKS) continue;
      this.#looks.delete(stream);
      this.#onStalled(stream);
    }
    this.#plan();
  };
}
