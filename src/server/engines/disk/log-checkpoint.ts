import { runAfter } from "../../../lib/timer.js";
import type { DiskLog } from "./log.js";

/** How long after an append the log's end is written to the tree. */
const DELAY_MS = 1000;

/**
 * Writes the ends of logs that have grown to the tree, after a delay and in one batch. If a log is later found to end
 * before its checkpoint, it is damaged, however the process ended.
 */
export class LogCheckpoint {
  readonly #write: (logs: readonly (readonly [name: string, log: DiskLog])[]) => Promise<void>;
  readonly #grown = new Map<string, DiskLog>();
  #cancel: (() => void) | undefined;
  #closed = false;

  constructor(write: (logs: readonly (readonly [name: string, log: DiskLog])[]) => Promise<void>) {
    this.#write = write;
  }

  schedule(name: string, log: DiskLog): void {
    this.#grown.set(name, log);
    if (this.#closed) return;
    this.#cancel ??= runAfter(DELAY_MS, () => {
      this.#cancel = undefined;
      const grown = [...this.#grown];
      this.#grown.clear();
      // If the write fails, the next append tries again.
      this.#write(grown).catch(() => {});
    });
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }
}
