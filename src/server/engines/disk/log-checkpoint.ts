import { runAfter } from "../../../lib/timer.js";
import type { DiskLog } from "./log.js";

/** How soon the tree is told where a log ends that has grown. */
const SOON_MS = 1000;

/**
 * Has the tree told where logs end that have grown, soon, and of all of them at once: a log that is cut in front of that
 * is seen to be damaged, whatever ended the process.
 */
export class LogCheckpoint {
  readonly #write: (logs: readonly (readonly [name: string, log: DiskLog])[]) => Promise<void>;
  readonly #grown = new Map<string, DiskLog>();
  #callOff: (() => void) | undefined;
  #closed = false;

  constructor(write: (logs: readonly (readonly [name: string, log: DiskLog])[]) => Promise<void>) {
    this.#write = write;
  }

  tellSoon(name: string, log: DiskLog): void {
    this.#grown.set(name, log);
    if (this.#closed) return;
    this.#callOff ??= runAfter(SOON_MS, () => {
      this.#callOff = undefined;
      const grown = [...this.#grown];
      this.#grown.clear();
      // Where the disk refuses, the next append tries again.
      this.#write(grown).catch(() => {});
    });
  }

  close(): void {
    this.#closed = true;
    this.#callOff?.();
  }
}
