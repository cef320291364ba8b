/**
 * A queue: what is pushed comes out of the iteration in order, also what was pushed before it began. `end()` lets
 * the reader finish what is there; `fail()` does too, and then throws in its loop. Leaving the loop calls `onLeave`
 * and drops the rest, also where the reader leaves before its first step or while it waits. Each item goes to one
 * reader, and all of them end together.
 */
export class Queue<T> implements AsyncIterable<T> {
  #items: (T | undefined)[] = [];
  #head = 0;
  #ended: { error?: unknown; failed: boolean } | undefined;
  #left = false;
  #waiting: ((result: Step<T> | Promise<Step<T>>) => void)[] = [];
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
    const next = this.#waiting.shift();
    if (next) next({ value: item, done: false });
    else this.#items.push(item);
  }

  end(): void {
    this.#close({ failed: false });
  }

  fail(error: unknown): void {
    this.#close({ failed: true, error });
  }

  [Symbol.asyncIterator](): AsyncIterator<T, void, undefined> {
    return {
      next: () => this.#next(),
      return: async () => {
        this.#leave();
        return DONE;
      },
      // Connect ends a stream of requests so, when the call has failed.
      throw: async (error) => {
        this.#leave();
        throw error;
      },
    };
  }

  #close(how: { error?: unknown; failed: boolean }): void {
    if (this.#ended) return;
    this.#ended = how;
    // Whoever waits has read all that there was.
    for (const resolve of this.#waiting.splice(0)) resolve(this.#next());
  }

  #next(): Promise<Step<T>> {
    if (this.#head < this.#items.length) return Promise.resolve({ value: this.#take(), done: false });
    if (!this.#ended) return new Promise((resolve) => this.#waiting.push(resolve));
    const { failed, error } = this.#ended;
    this.#leave();
    return failed ? Promise.reject(error) : Promise.resolve(DONE);
  }

  #leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.#items = [];
    this.#head = 0;
    this.end();
    // An error is thrown once; whoever iterates on is at the end.
    this.#ended = { failed: false };
    this.#onLeave?.();
  }

  #take(): T {
    const item = this.#items[this.#head] as T;
    this.#items[this.#head++] = undefined;
    // Taking from the front stays cheap: the array is cut now and then, in large pieces.
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}

type Step<T> = IteratorResult<T, void>;

const DONE = { value: undefined, done: true } as const;
