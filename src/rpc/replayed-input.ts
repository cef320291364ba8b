/** The most messages that are kept for another attempt. */
const MAX_MESSAGES = 8;

/**
 * The messages of a call that may be sent again: sent messages are kept until the response begins, or until there are
 * too many. One attempt at a time reads them.
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

  /** Whether every sent message is still kept. */
  get isWhole(): boolean {
    return this.#first === 0;
  }

  /** All messages from the first one on, for one attempt. */
  open(): AsyncIterable<T> {
    let at = 0;
    const iterator: AsyncIterator<T> = {
      next: async () => {
        while (at >= this.#first + this.#results.length) await (this.#pull ??= this.#pullOne());
        const result = this.#results[at - this.#first] as IteratorResult<T>;
        if (!result.done) at++;
        if (!this.#isKept || at > MAX_MESSAGES) {
          this.#isKept = false;
          this.#results.splice(0, at - this.#first);
          this.#first = at;
        }
        return result;
      },
      // The end of an attempt is the end of the call only if there is no other attempt.
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

  /** Keeps no more messages: the response has begun, and there will be no other attempt. */
  release(): void {
    this.#isKept = false;
  }

  /** Passes the failure of the call on to the source of the messages. */
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
