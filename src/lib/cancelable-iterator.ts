import { onAbort } from "./on-abort.js";

/** An iterator that can be left at any time, from anywhere: also while its `next()` waits. */
export interface CancelableIterator<T> extends AsyncIterableIterator<T, undefined, undefined> {
  next(): Promise<IteratorResult<T, undefined>>;
  return(): Promise<IteratorResult<T, undefined>>;
  throw(error?: unknown): Promise<IteratorResult<T, undefined>>;
}

export interface CancelableOptions {
  /** Aborting it aborts the signal that the generator has. */
  signal?: AbortSignal | undefined;
  /** Called once, before the first step; what it throws is what that step throws. */
  onStart?: (() => void) | undefined;
  /** Called once, when the iteration is over in any way, or left before it began. */
  onEnd?: ((error?: unknown) => void) | undefined;
}

const DONE = { value: undefined, done: true } as const;

/**
 * Iterates over what `generate` yields. An async generator queues `return()` behind a `next()` that waits; here it ends
 * the wait: that `next()` resolves as done, the generator's signal aborts, and `return()` resolves when the generator
 * has cleaned up. Where none waits, the generator stands at a `yield` and goes on with its `finally` blocks.
 */
export function cancelable<T>(
  generate: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>,
  { signal, onStart, onEnd }: CancelableOptions = {},
): CancelableIterator<T> {
  const abandoned = new AbortController();
  const waiting = new Set<() => void>();
  let generator: AsyncGenerator<T, void, undefined> | undefined;
  let unlink = () => {};
  let isOver = false;
  let left: Promise<unknown> | undefined;

  const end = (error?: unknown) => {
    if (isOver) return;
    isOver = true;
    unlink();
    onEnd?.(error);
  };
  const start = () => {
    onStart?.();
    unlink = onAbort(signal, () => abandoned.abort(signal?.reason));
    return generate(abandoned.signal);
  };
  const leave = () => {
    if (left) return left;
    const cleaned = generator?.return();
    if (waiting.size > 0) abandoned.abort();
    for (const resolve of waiting) resolve();
    end();
    left = cleaned ?? Promise.resolve();
    return left;
  };

  return {
    next() {
      if (left || isOver) return Promise.resolve(DONE);
      return new Promise((resolve, reject) => {
        const settle = () => resolve(DONE);
        const fail = (error: unknown) => {
          waiting.delete(settle);
          end(error);
          reject(error);
        };
        try {
          generator ??= start();
        } catch (error) {
          return fail(error);
        }
        waiting.add(settle);
        generator.next().then((step) => {
          waiting.delete(settle);
          if (step.done) end();
          resolve(step as IteratorResult<T, undefined>);
        }, fail);
      });
    },
    async return() {
      await leave();
      return DONE;
    },
    async throw(error) {
      await leave();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
