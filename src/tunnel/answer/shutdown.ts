/** What is told to stop when the server does. */
export interface Stoppable {
  /** Its place among those that are watched; kept by the watch. */
  index: number;
  stop(): void;
}

/**
 * Calls that are told when a signal aborts. They come and go by the thousand, and each would cost a listener of its own
 * more than itself: a listener that is gone goes on pointing at the next, so that old ones keep all that came behind.
 */
export class Shutdown {
  readonly signal: AbortSignal;
  readonly #watched: Stoppable[] = [];

  constructor(signal: AbortSignal) {
    this.signal = signal;
    signal.addEventListener("abort", () => {
      for (const call of this.#watched.splice(0)) call.stop();
    });
  }

  add(call: Stoppable): void {
    call.index = this.#watched.push(call) - 1;
  }

  /** Tells it nothing any more. Idempotent. */
  remove(call: Stoppable): void {
    if (this.#watched[call.index] !== call) return;
    const last = this.#watched.pop() as Stoppable;
    if (last === call) return;
    this.#watched[call.index] = last;
    last.index = call.index;
  }
}
