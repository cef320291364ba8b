/** A call that ends when the server shuts down. */
export interface Stoppable {
  /** Its index in the list; maintained by the list. */
  index: number;
  stop(): void;
}

/**
 * Stops calls when a signal aborts. Calls come and go by the thousand, and a listener for each would cost more than the
 * call: a removed listener still points at its successor, and so keeps all later ones in memory.
 */
export class StoppableCalls {
  readonly signal: AbortSignal;
  readonly #calls: Stoppable[] = [];

  constructor(signal: AbortSignal) {
    this.signal = signal;
    signal.addEventListener("abort", () => {
      for (const call of this.#calls.splice(0)) call.stop();
    });
  }

  add(call: Stoppable): void {
    call.index = this.#calls.push(call) - 1;
  }

  /** Idempotent. */
  remove(call: Stoppable): void {
    if (this.#calls[call.index] !== call) return;
    const last = this.#calls.pop() as Stoppable;
    if (last === call) return;
    this.#calls[call.index] = last;
    last.index = call.index;
  }
}
