import { runAfter } from "../../../lib/timer.js";

/** How long a group without a consumer is kept where nothing waits for it, and where something does. */
export type IdleTimeouts = { idleMs: number; backlogIdleMs: number };

/** Tells when a group has been without a consumer for as long as it is kept. */
export class IdleTimer {
  readonly #keptMs: IdleTimeouts;
  readonly #isEmpty: () => boolean;
  readonly #onIdle: () => void;
  #callOff: (() => void) | undefined;

  /** `isEmpty` says whether nothing waits for the group. */
  constructor(keptMs: IdleTimeouts, isEmpty: () => boolean, onIdle: () => void) {
    this.#keptMs = keptMs;
    this.#isEmpty = isEmpty;
    this.#onIdle = onIdle;
  }

  /** Begins, for a group that has been idle for so long before. */
  start(idleForMs = 0): void {
    const { idleMs, backlogIdleMs } = this.#keptMs;
    const sinceMs = performance.now() - idleForMs;
    const wait = (keptMs: number) => {
      this.#callOff = runAfter(sinceMs + keptMs - performance.now(), () => {
        if (this.#isEmpty() || keptMs >= backlogIdleMs) this.#onIdle();
        else wait(backlogIdleMs);
      });
    };
    wait(Math.min(idleMs, backlogIdleMs));
  }

  stop(): void {
    this.#callOff?.();
  }
}
