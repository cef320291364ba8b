import { armTimeout, runAfter } from "../../lib/timer.js";

/** The longest pause while a call waits for it, in milliseconds. */
const MAX_AWAITED_MS = 1000;

/** The pause before the next dial. */
export class DialPause {
  readonly #isAwaited: () => boolean;
  #restart: () => void = () => {};
  #end: () => void = () => {};

  /** While `isAwaited` returns true the pause is short, and keeps the process alive. */
  constructor(isAwaited: () => boolean) {
    this.#isAwaited = isAwaited;
  }

  /** Resolves after `delayMs`, or earlier if the pause is awaited or ended. */
  wait(delayMs: number): Promise<void> {
    const startedAtMs = Date.now();
    return new Promise((resolve) => {
      let stopTimer = () => {};
      const end = () => {
        stopTimer();
        this.#restart = () => {};
        resolve();
      };
      const restart = () => {
        stopTimer();
        const isAwaited = this.#isAwaited();
        const pauseMs = isAwaited ? Math.min(delayMs, MAX_AWAITED_MS) : delayMs;
        const remainingMs = startedAtMs + pauseMs - Date.now();
        // A process that has nothing but this call to do must not exit before it is made.
        stopTimer = (isAwaited ? armTimeout : runAfter)(remainingMs, end);
      };
      this.#restart = restart;
      this.#end = end;
      restart();
    });
  }

  /** Notes that `isAwaited` may have changed. */
  update(): void {
    this.#restart();
  }

  /** Ends the pause now. */
  end(): void {
    this.#end();
  }
}
