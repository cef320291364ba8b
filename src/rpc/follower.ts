/// <reference lib="esnext.disposable" preserve="true" />
import type { CancelableIterator } from "../lib/cancelable-iterator.js";
import { asyncDispose } from "../lib/dispose.js";
import type { Status, StatusChange } from "./connection-status.js";
import { cacheUntilFailure } from "./lazy.js";

/** A stream from the server that goes on through lost connections. It is one loop's: it can be read once. */
export interface Follower<T> extends AsyncIterableIterator<T, undefined, undefined>, AsyncDisposable {
  /** The connection: "connecting" until the loop has begun, "closed" once it is over. */
  readonly status: Status;
  /** Leaves the loop and frees the server, also while a `next()` waits, which then resolves as done. */
  return(): Promise<IteratorResult<T, undefined>>;
}

/** Both sides of a stream whose code is loaded. */
export interface LoadedFollower<T> {
  readonly messages: CancelableIterator<T>;
  readonly status: Status;
}

/** An iterator whose code is loaded with its first step. */
export function lazyIterator<T>(load: () => Promise<CancelableIterator<T>>): CancelableIterator<T> {
  const ready = cacheUntilFailure(load);
  return {
    next: async () => (await ready()).next(),
    return: async () => (await ready()).return(),
    throw: async (error) => (await ready()).throw(error),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** What `load` gives, whose code is loaded with the first step of its loop, or of one over its status. */
export function lazyFollower<T>(load: () => Promise<LoadedFollower<T>>): Follower<T> {
  // Until the code is there, nothing has happened.
  let status: StatusChange = { current: "connecting", sinceMs: Date.now(), error: undefined };
  const ready = cacheUntilFailure(async () => {
    const followed = await load();
    ({ status } = followed);
    return followed;
  });
  const messages = lazyIterator(async () => (await ready()).messages);
  return {
    ...messages,
    [asyncDispose]: async () => void (await messages.return()),
    status: {
      get current() {
        return status.current;
      },
      get sinceMs() {
        return status.sinceMs;
      },
      get error() {
        return status.error;
      },
      changes: (options) => lazyIterator(async () => (await ready()).status.changes(options) as never),
    },
  };
}
