import { ResetFlood } from "./reset-flood.js";

/** How many calls of the other end are open and how many are worked on, given up or not, and what there may be of both. */
export class IncomingCalls {
  readonly #most: number;
  readonly #settled: () => void;
  readonly #resets = new ResetFlood();
  #open = 0;
  #running = 0;

  /** `most`: how many may be open. `settled` is told whenever the work on one has ended. */
  constructor(most: number, settled: () => void) {
    this.#most = most;
    this.#settled = settled;
  }

  get hasRunning(): boolean {
    return this.#running > 0;
  }

  /** One more is open. Whether it may be answered: given up ones count while they are worked on, though not as much. */
  open(): boolean {
    this.#open++;
    return this.#open <= this.#most && this.#running < this.#most * 2;
  }

  close(): void {
    this.#open--;
  }

  /** One is given up by its caller. Throws where that happens too often. */
  countReset(): void {
    this.#resets.count();
  }

  /** Work on one begins. Returns what is to be called when it has ended. */
  startWork(): () => void {
    this.#running++;
    let isSettled = false;
    return () => {
      if (isSettled) return;
      isSettled = true;
      this.#running--;
      this.#settled();
    };
  }
}
