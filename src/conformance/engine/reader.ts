import { sleep } from "../../rpc/sleep.js";

/** Reads an async iterable step by step. */

import { AssertionError } from "../expect.js";

export interface Reader<T> {
  /** Resolves with the next item. Fails if the iteration ends. */
  next(): Promise<T>;
  take(count: number): Promise<T[]>;
  /** Fails if an item comes within `ms`. A later item is returned by next(). */
  quiet(ms?: number): Promise<void>;
  /** Resolves when the iteration ends. Fails if an item comes. */
  end(): Promise<void>;
  /** Ends the iteration, as `break` does. */
  leave(): Promise<void>;
}

export function reader<T>(iterable: AsyncIterable<T>): Reader<T> {
  const iterator = iterable[Symbol.asyncIterator]();
  let pending: Promise<IteratorResult<T>> | undefined;
  const step = () => {
    pending ??= iterator.next();
    return pending;
  };
  const next = async () => {
    const result = await step();
    pending = undefined;
    if (result.done) throw new AssertionError("expected another item, the iteration ended");
    return result.value;
  };
  return {
    next,
    async take(count) {
      const items: T[] = [];
      while (items.length < count) items.push(await next());
      return items;
    },
    async quiet(ms = 20) {
      const result = await Promise.race([step(), sleep(ms)]);
      if (result) throw new AssertionError("expected nothing to come", result);
    },
    async end() {
      const { done, value } = await step();
      if (!done) throw new AssertionError("expected the end", value);
    },
    async leave() {
      await iterator.return?.();
    },
  };
}

/** All items of `iterable`. */
export async function collect<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of iterable) items.push(item);
  return items;
}
