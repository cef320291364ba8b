import { runAfter } from "../../../lib/timer.js";

/** How long a group without consumers is kept: while no events wait for it, and while some do. */
export type IdleTimeouts = { idleMs: number; backlogIdleMs: number };

/** Calls `onIdle` when a group has been without consumers for longer than it is kept. */
export class IdleTimer {
  readonly #timeouts: IdleTimeouts;
  readonly #isEmpty: () => boolean;
  readonly #onIdle: () => void;
  #cancel: (() => void) | undefined;

  /** `isEmpty`: whether no events wait for the group. */
  constructor(timeouts: IdleTimeouts, isEmpty: () => boolean, onIdle: () => void) {
    this.#timeouts = timeouts;
    this.#isEmpty = isEmpty;
    this.#onIdle = onIdle;
  }

  /** Starts the timer, for a group that has already been idle for `idleForMs`. */
  start(idleForMs = 0): void {
    const { idleMs, backlogIdleMs } = this.#timeouts;
    const sinceMs = performance.now() - idleForMs;
    const wait = (keptMs: number) => {
      this.#cancel = runAfter(sinceMs + keptMs - performance.now(), () => {
        if (this.#isEmpty() || keptMs >= backlogIdleMs) this.#onIdle();
        else wait(backlogIdleMs);
      });
    };
    wait(Math.min(idleMs, backlogIdleMs));
  }

  stop(): void {
    this.#cancel?.();
  }
}
