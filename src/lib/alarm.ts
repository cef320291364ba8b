import { runAfter } from "./timer.js";

/** A timer for a task that itself knows whether it is due: to ask for it later than before starts no other timer. */
export class Alarm {
  readonly #task: () => void;
  #dueAtMs = Number.POSITIVE_INFINITY;
  #stopTimer: (() => void) | undefined;

  constructor(task: () => void) {
    this.#task = task;
  }

  /** Runs the task within `delayMs`. Does not keep a Node process alive. */
  ring(delayMs: number): void {
    const dueAtMs = performance.now() + delayMs;
    if (dueAtMs >= this.#dueAtMs) return;
    this.stop();
    this.#dueAtMs = dueAtMs;
    this.#stopTimer = runAfter(delayMs, () => {
      this.stop();
      this.#task();
    });
  }

  stop(): void {
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    this.#stopTimer?.();
  }
}
