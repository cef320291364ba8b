import { runAfter } from "../../../lib/timer.js";

/** What is appended at once: no more records, and no more bytes unless it is one record that is larger. */
const BATCH_RECORDS = 512;
const BATCH_BYTES = 1024 ** 2;

/** How long a record waits for others before it is appended. A call that is sent in less is one batch if it fits. */
const LINGER_MS = 1000;

/**
 * Puts the records of one Produce call together, so that a small call is one append, a large one takes bounded
 * memory, and one that stays open does not keep its records from the readers.
 */
export class Batches {
  readonly #append: (values: Uint8Array[]) => Promise<void>;
  #values: Uint8Array[] = [];
  #bytes = 0;
  #appending: Promise<void> = Promise.resolve();
  #callOff: (() => void) | undefined;

  constructor(append: (values: Uint8Array[]) => Promise<void>) {
    this.#append = append;
  }

  /** Takes `value` in. Waits for an append under way, and fails as that one did. */
  async add(value: Uint8Array): Promise<void> {
    if (this.#values.length === BATCH_RECORDS || this.#bytes + value.length > BATCH_BYTES) this.#flush();
    if (this.#values.length === 0) {
      await this.#appending;
      this.#callOff = runAfter(LINGER_MS, () => this.#flush());
    }
    this.#values.push(value);
    this.#bytes += value.length;
  }

  /** Appends what is left. Resolves when everything is durable. */
  async finish(): Promise<void> {
    this.#flush();
    await this.#appending;
  }

  /** Forgets what has not been appended. */
  drop(): void {
    this.#callOff?.();
    this.#values = [];
  }

  #flush(): void {
    this.#callOff?.();
    if (this.#values.length === 0) return;
    const values = this.#values;
    this.#values = [];
    this.#bytes = 0;
    this.#appending = this.#appending.then(() => this.#append(values));
    // Whoever adds or finishes next is told of a failure; until then it is no one's.
    this.#appending.catch(() => {});
  }
}
