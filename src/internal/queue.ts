/**
 * A queue with one reader: what is pushed comes out of the iteration in order, also what was pushed before it began.
 * `end()` lets the reader finish what is there; `fail()` does too, and then throws in its loop. Leaving the loop
 * calls `onLeave` and drops the rest.
 */
export class Queue<T> implements AsyncIterable<T> {
  #items: T[] = [];
  #head = 0;
  #ended: { error?: unknown; failed: boolean } | undefined;
  #wake: (() => void) | undefined;
  readonly #onLeave: (() => void) | undefined;

  constructor(onLeave?: () => void) {
    this.#onLeave = onLeave;
  }

  /** How many items wait to be read. */
  get size(): number {
    return this.#items.length - this.#head;
  }

  /** Whether end(), fail() or the reader's leaving has closed it; what is pushed from then on is dropped. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  push(item: T): void {
    if (this.#ended) return;
    this.#items.push(item);
    this.#wake?.();
  }

  end(): void {
    this.#ended ??= { failed: false };
    this.#wake?.();
  }

  fail(error: unknown): void {
    this.#ended ??= { failed: true, error };
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    try {
      while (true) {
        while (this.#head < this.#items.length) yield this.#take();
        if (this.#ended) break;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (this.#ended.failed) throw this.#ended.error;
    } finally {
      this.#ended ??= { failed: false };
      this.#items = [];
      this.#head = 0;
      this.#onLeave?.();
    }
  }

  #take(): T {
    const item = this.#items[this.#head] as T;
    // Gives the memory of what was read back now and then, so that taking from the front stays cheap.
    if (++this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
