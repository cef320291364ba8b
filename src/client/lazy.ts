import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import type { CancelableIterator } from "../lib/cancelable-iterator.js";

// How facades load their code on first use. Each function below but the first takes `create`, which gets the exports of
// lazy-chunk.ts, and returns something that can be used at once:
//
//   lazyMethods(({ lockStore }) => lockStore(transport, name), ["acquire"])   an object of async methods
//   lazyIterator(({ idBlocks }) => idBlocks(reserve, call))                   an async iterator
//   lazyFollower(({ readRecords }) => readRecords(place, start, call))        an async iterator with a status
//   lazyTransport(({ withBearerToken }) => withBearerToken(transport, token)) a transport
//   lazyValue(({ openTunnel }) => openTunnel(urls, options))      anything else
//
// A method that needs a function of the chunk only in some cases calls it: (await lazyChunk()).appendRecords(…).

/** The exports of lazy-chunk.ts. */
export type LazyChunk = typeof import("./lazy-chunk.js");

/**
 * Loads lazy-chunk.ts, or what `load` loads. Fails with `Code.Unavailable` if it cannot be loaded, as when the server
 * cannot be reached; the next call tries again.
 */
export async function lazyChunk<T = LazyChunk>(
  load: () => Promise<T> = () => import("./lazy-chunk.js") as Promise<T>,
): Promise<T> {
  try {
    return await load();
  } catch (error) {
    throw new ConnectError("cannot load the code for it", Code.Unavailable, undefined, undefined, error);
  }
}

/** Returns a function that calls `create` once and then returns the same value; after a failure it calls it again. */
export function lazyValue<T>(create: (code: LazyChunk) => T | Promise<T>): () => Promise<T> {
  let value: Promise<T> | undefined;
  return () =>
    (value ??= lazyChunk()
      .then(create)
      .catch((error: unknown) => {
        value = undefined;
        throw error;
      }));
}

/** An object with the methods `names` of the object that `create` returns, which is created by their first call. */
export function lazyMethods<T extends object>(
  create: (code: LazyChunk) => T | Promise<T>,
  names: readonly (keyof T & string)[],
): T {
  const object = lazyValue(create);
  const method =
    (name: keyof T) =>
    async (...args: unknown[]) =>
      ((await object())[name] as (...args: unknown[]) => unknown)(...args);
  return Object.fromEntries(names.map((name) => [name, method(name)])) as T;
}

/** The iterator that `create` returns, which is created by its first step. */
export function lazyIterator<T>(
  create: (code: LazyChunk) => CancelableIterator<T> | Promise<CancelableIterator<T>>,
): CancelableIterator<T> {
  return {
    ...lazyMethods(create, ["next", "return", "throw"]),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** The transport that `create` returns, which is created by its first call. */
export const lazyTransport = (create: (code: LazyChunk) => Transport | Promise<Transport>): Transport =>
  lazyMethods(create, ["unary", "stream"]);
