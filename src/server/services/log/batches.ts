import { runAfter } from "../../../lib/timer.js";

/** The most records and bytes of one append. A larger record is an append of its own. */
const BATCH_RECORDS = 512;
const BATCH_BYTES = 1024 ** 2;

/** How long a record waits for others before it is appended. */
const LINGER_MS = 1000;

/**
 * Collects the records of one Produce call into appends. A small call is one append, a large one uses bounded memory,
 * and the records of a call that stays open reach readers after LINGER_MS.
 */
export class RecordBatches {
  readonly #append: (values: Uint8Array[]) => Promise<void>;
  #values: Uint8Array[] = [];
  #bytes = 0;
  #appending: Promise<void> = Promise.resolve();
  #stopTimer: (() => void) | undefined;

  constructor(append: (values: Uint8Array[]) => Promise<void>) {
    this.#append = append;
  }

  /** Adds `value`. Waits for an append under way, and fails if that fails. */
  async add(value: Uint8Array): Promise<void> {
    if (this.#values.length === BATCH_RECORDS || this.#bytes + value.length > BATCH_BYTES) this.#flush();
    if (this.#values.length === 0) {
      await this.#appending;
      this.#stopTimer = runAfter(LINGER_MS, () => this.#flush());
    }
    this.#values.push(value);
    this.#bytes += value.length;
  }

  /** Appends the remaining records. Resolves when all records are durable. */
  async finish(): Promise<void> {
    this.#flush();
    await this.#appending;
  }

  /** Discards the records that were not appended. */
  discard(): void {
    this.#stopTimer?.();
    this.#values = [];
  }

  #flush(): void {
    this.#stopTimer?.();
    if (this.#values.length === 0) return;
    const values = this.#values;
    this.#values = [];
    this.#bytes = 0;
    this.#appending = this.#appending.then(() => this.#append(values));
    // The next add() or finish() fails with the same error.
    this.#appending.catch(() => {});
  }
}
