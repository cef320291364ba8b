/**
 * A queue: the iteration yields pushed items in order, including those pushed before it began. After `end()` the loop
 * ends with the last item; after `fail()` it throws then. Leaving the loop calls `onLeave` and drops the remaining
 * items, even before the first step or during a wait. Several readers share the items and end together.
 */
export class Queue<T> implements AsyncIterable<T> {
  #items: (T | undefined)[] = [];
  #head = 0;
  #ended: { error?: unknown; failed: boolean } | undefined;
  #isAbandoned = false;
  #waiting: ((result: Step<T> | Promise<Step<T>>) => void)[] = [];
  readonly #onLeave: (() => void) | undefined;

  constructor(onLeave?: () => void) {
    this.#onLeave = onLeave;
  }

  /** The number of items that wait to be read. */
  get size(): number {
    return this.#items.length - this.#head;
  }

  /** Whether end(), fail() or a reader that left has closed the queue. Items that are pushed later are dropped. */
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
      // Connect calls it on a stream of requests when the call has failed.
      throw: async (error) => {
        this.#leave();
        throw error;
      },
    };
  }

  #close(end: { error?: unknown; failed: boolean }): void {
    if (this.#ended) return;
    this.#ended = end;
    // A reader waits only if there are no more items.
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
    if (this.#isAbandoned) return;
    this.#isAbandoned = true;
    this.#items = [];
    this.#head = 0;
    this.end();
    // The error is thrown once. A further step is at the end.
    this.#ended = { failed: false };
    this.#onLeave?.();
  }

  #take(): T {
    const item = this.#items[this.#head] as T;
    this.#items[this.#head++] = undefined;
    // Shortened rarely and by large parts, so that taking from the front stays cheap.
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}

type Step<T> = IteratorResult<T, void>;

const DONE = { value: undefined, done: true } as const;
