import { after } from "../internal/timer.js";
import { FRAME_COST } from "./cost.js";
import { now } from "./heartbeat.js";
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
  /** The streams that wait, and when something of each was sent last. */
  readonly #movedAtMs = new Map<Stream, number>();
  #connectionMovedAtMs = 0;
  #bufferedBefore = 0;
  #stop: (() => void) | undefined;

  /** `buffered`: how many bytes wait in the socket. */
  constructor(mostMs: number, buffered: () => number, onStalled: (stream: Stream) => void) {
    this.#mostMs = mostMs;
    this.#buffered = buffered;
    this.#onStalled = onStalled;
  }

  /** More bytes, or fewer, of the stream wait. */
  changed(stream: Stream, change: number): void {
    if (!stream.hasPending) {
      this.#movedAtMs.delete(stream);
    } else if (change < 0 || !this.#movedAtMs.has(stream)) {
      this.#movedAtMs.set(stream, now());
    }
    // What is dropped with its stream is not sent.
    if (change < 0 && !stream.isOver) this.#connectionMovedAtMs = now();
    if (this.#movedAtMs.size > 0) this.#stop ??= after(this.#mostMs / LOOKS, this.#look);
  }

  stop(): void {
    this.#stop?.();
    this.#movedAtMs.clear();
  }

  readonly #look = (): void => {
    this.#stop = undefined;
    const sinceMs = now() - this.#mostMs;
    const buffered = this.#buffered();
    if (buffered < this.#bufferedBefore) this.#connectionMovedAtMs = now();
    this.#bufferedBefore = buffered;
    for (const [stream, movedAtMs] of this.#movedAtMs) {
      const waitsForConnection = stream.sendCredit > FRAME_COST;
      const lastMs = waitsForConnection ? Math.max(movedAtMs, this.#connectionMovedAtMs) : movedAtMs;
      if (lastMs > sinceMs) continue;
      this.#movedAtMs.delete(stream);
      this.#onStalled(stream);
    }
    if (this.#movedAtMs.size > 0) this.#stop ??= after(this.#mostMs / LOOKS, this.#look);
  };
}
