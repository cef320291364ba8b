import type { EventEmitter } from "node:events";

/** Counts the calls under way of a port, until it closes. */
export class OpenCalls {
  #isClosing = false;
  #count = 0;
  #onEnded: () => void = () => {};

  /** Whether further calls are not counted any more. */
  get isClosing(): boolean {
    return this.#isClosing;
  }

  add(response: Pick<EventEmitter, "once">): void {
    this.#count++;
    response.once("close", () => {
      if (--this.#count === 0) this.#onEnded();
    });
  }

  /** Resolves when the calls that have begun before have ended. */
  whenEnded(): Promise<void> {
    this.#isClosing = true;
    return new Promise((resolve) => {
      this.#onEnded = resolve;
      if (this.#count === 0) resolve();
    });
  }
}
