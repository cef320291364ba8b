/** The most messages that are kept to be sent again, until the answer begins. */
const MOST_MESSAGES = 8;

/**
 * The messages of a call that may be sent a second time: those that were sent before are kept until the answer begins,
 * or there are too many of them. One try at a time reads them.
 */
export class ReplayedInput<T> {
  readonly #source: AsyncIterator<T>;
  #results: IteratorResult<T, undefined>[] = [];
  /** The number of the first one in `#results`. */
  #first = 0;
  #pull: Promise<void> | undefined;
  #isKept = true;

  constructor(messages: AsyncIterable<T>) {
    this.#source = messages[Symbol.asyncIterator]();
  }

  /** Whether every message that was sent is still known. */
  get isWhole(): boolean {
    return this.#first === 0;
  }

  /** All messages from the first one on, for a try. */
  open(): AsyncIterable<T> {
    let at = 0;
    const iterator: AsyncIterator<T> = {
      next: async () => {
        while (at >= this.#first + this.#results.length) await (this.#pull ??= this.#pullOne());
        const result = this.#results[at - this.#first] as IteratorResult<T>;
        if (!result.done) at++;
        if (!this.#isKept || at > MOST_MESSAGES) {
          this.#isKept = false;
          this.#results.splice(0, at - this.#first);
          this.#first = at;
        }
        return result;
      },
      // The end of a try is the end of the call only where there is no other one.
      return: async (value) =>
        this.#isKept
          ? { done: true, value }
          : ((await this.#source.return?.(value)) ?? { done: true, value }),
      throw: async (reason) => {
        if (!this.#isKept) await this.#source.throw?.(reason);
        throw reason;
      },
    };
    return { [Symbol.asyncIterator]: () => iterator };
  }

  /** The answer has begun: there will be no other try. */
  release(): void {
    this.#isKept = false;
  }

  /** The call has failed: tells where the messages come from. */
  fail(error: unknown): void {
    if (!this.#isKept) return;
    this.#isKept = false;
    this.#source.throw?.(error).catch(() => {});
  }

  async #pullOne(): Promise<void> {
    try {
      const { done, value } = await this.#source.next();
      this.#results.push(done ? { done, value: undefined } : { done: false, value });
    } finally {
      this.#pull = undefined;
    }
  }
}
