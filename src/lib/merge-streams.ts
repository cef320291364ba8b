/**
 * Several streams as one: whatever comes first, in the order of each. A stream is asked for its next item only when
 * the last one has been dealt with, so nothing piles up here. Ends when all streams have ended or `signal` aborts,
 * even where a stream does not notice; fails as the first one that fails. The streams themselves are not ended by
 * leaving the loop: that is up to the signal, because a request stream that is cut off could not carry the answer.
 */
export class Merged<T> implements AsyncIterable<T> {
  readonly #signal: AbortSignal;
  readonly #arrived: { item: T; dealtWith: () => void }[] = [];
  #streams = 0;
  #failed: { error: unknown } | undefined;
  #left = false;
  #wake: (() => void) | undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Takes one stream more in, at any time before the end. */
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
          next.dealtWith();
        } else if (this.#failed) {
          throw this.#failed.error;
        } else if (this.#streams === 0) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.#left = true;
      this.#signal.removeEventListener("abort", wake);
      for (const { dealtWith } of this.#arrived.splice(0)) dealtWith();
    }
  }

  async #pump(stream: AsyncIterable<T>): Promise<void> {
    try {
      const items = stream[Symbol.asyncIterator]();
      while (!this.#left) {
        const step = await items.next();
        if (step.done) return;
        await new Promise<void>((dealtWith) => {
          this.#arrived.push({ item: step.value, dealtWith });
          this.#wake?.();
        });
      }
    } catch (error) {
      this.#failed ??= { error };
    } finally {
      this.#streams--;
      this.#wake?.();
    }
  }
}
