import { onAbort } from "./on-abort.js";

/** An iterator that can be left at any time, even while its `next()` waits. */
export interface CancelableIterator<T> extends AsyncIterableIterator<T, undefined, undefined> {
  next(): Promise<IteratorResult<T, undefined>>;
  return(): Promise<IteratorResult<T, undefined>>;
  throw(error?: unknown): Promise<IteratorResult<T, undefined>>;
}

export interface CancelableOptions {
  /** Aborting it aborts the signal that the generator has. */
  signal?: AbortSignal | undefined;
  /** Called once, before the first step. An error that it throws is thrown by that step. */
  onStart?: (() => void) | undefined;
  /** Called once, when the iteration ends, fails or is left, even before its first step. */
  onEnd?: ((error?: unknown) => void) | undefined;
}

const DONE = { value: undefined, done: true } as const;

/**
 * Iterates over the items of `generate`. An async generator queues `return()` behind a `next()` that waits. Here
 * `return()` ends the wait: that `next()` resolves as done, the generator's signal aborts, and `return()` resolves
 * after the `finally` blocks of the generator. If no `next()` waits, the generator is at a `yield` and runs its
 * `finally` blocks at once.
 */
export function cancelable<T>(
  generate: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>,
  options: CancelableOptions = {},
): CancelableIterator<T> {
  return new CancelableGenerator(generate, options);
}

class CancelableGenerator<T> implements CancelableIterator<T> {
  readonly #generate: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>;
  readonly #options: CancelableOptions;
  readonly #abandoned = new AbortController();
  /** Each resolves one `next()` that waits. */
  readonly #waiting = new Set<() => void>();
  #generator: AsyncGenerator<T, void, undefined> | undefined;
  #stopListening = () => {};
  #hasEnded = false;
  #leaving: Promise<unknown> | undefined;

  constructor(
    generate: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>,
    options: CancelableOptions,
  ) {
    this.#generate = generate;
    this.#options = options;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#leaving || this.#hasEnded) return Promise.resolve(DONE);
    return new Promise((resolve, reject) => {
      const settle = () => resolve(DONE);
      const fail = (error: unknown) => {
        this.#waiting.delete(settle);
        this.#end(error);
        reject(error);
      };
      try {
        this.#generator ??= this.#start();
      } catch (error) {
        return fail(error);
      }
      this.#waiting.add(settle);
      this.#generator.next().then((step) => {
        this.#waiting.delete(settle);
        if (step.done) this.#end();
        resolve(step as IteratorResult<T, undefined>);
      }, fail);
    });
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    await this.#leave();
    return DONE;
  }

  async throw(error?: unknown): Promise<IteratorResult<T, undefined>> {
    await this.#leave();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #start(): AsyncGenerator<T, void, undefined> {
    const { signal, onStart } = this.#options;
    onStart?.();
    this.#stopListening = onAbort(signal, () => this.#abandoned.abort(signal?.reason));
    return this.#generate(this.#abandoned.signal);
  }

  #leave(): Promise<unknown> {
    if (this.#leaving) return this.#leaving;
    const cleanup = this.#generator?.return();
    if (this.#waiting.size > 0) this.#abandoned.abort();
    for (const resolve of this.#waiting) resolve();
    this.#end();
    this.#leaving = cleanup ?? Promise.resolve();
    return this.#leaving;
  }

  #end(error?: unknown): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#stopListening();
    this.#options.onEnd?.(error);
  }
}
