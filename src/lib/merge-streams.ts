/**
 * Merges streams into one: items come in the order of arrival, those of one stream in their order. The next item of a
 * stream is requested after its last one was consumed, so that none are buffered. Ends when all streams have ended or
 * `signal` aborts, even if a stream ignores that; fails when the first stream fails. Leaving the loop does not end the
 * streams, only the signal does: without its request stream a call could not be answered.
 */
export class MergedStream<T> implements AsyncIterable<T> {
  readonly #signal: AbortSignal;
  readonly #arrived: { item: T; consumed: () => void }[] = [];
  #streams = 0;
  #failure: { error: unknown } | undefined;
  #isAbandoned = false;
  #wake: (() => void) | undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Adds a stream, at any time before the end. */
  add(stream: AsyncIterable<T>): void {
    this.#streams++;
    void this.#pump(stream);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    const wake = () => this.#wake?.();
    this.#signal.addEventListener("abort", wake, { once: true });
    try {
      while (!this.#signal.aborted) {
        const next = this.#arrived.shift();
        if (next) {
          yield next.item;
          next.consumed();
        } else if (this.#failure) {
          throw this.#failure.error;
        } else if (this.#streams === 0) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.#isAbandoned = true;
      this.#signal.removeEventListener("abort", wake);
      for (const { consumed } of this.#arrived.splice(0)) consumed();
    }
  }

  async #pump(stream: AsyncIterable<T>): Promise<void> {
    try {
      const items = stream[Symbol.asyncIterator]();
      while (!this.#isAbandoned) {
        const step = await items.next();
        if (step.done) return;
        await new Promise<void>((consumed) => {
          this.#arrived.push({ item: step.value, consumed });
          this.#wake?.();
        });
      }
    } catch (error) {
      this.#failure ??= { error };
    } finally {
      this.#streams--;
      this.#wake?.();
    }
  }
}
