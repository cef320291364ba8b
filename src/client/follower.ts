/// <reference lib="esnext.disposable" preserve="true" />
import { asyncDispose } from "../lib/dispose.js";
import type { LoadedFollower } from "./follower/create-follower.js";
import { type LazyChunk, lazyIterator, lazyValue } from "./lazy.js";
import type { Status, StatusChange } from "./status.js";

/** A stream from the server that reconnects when its connection is lost. It can be read once, by one loop. */
export interface Follower<T> extends AsyncIterableIterator<T, undefined, undefined>, AsyncDisposable {
  /** The connection: "connecting" until the loop begins, "closed" after its end. */
  readonly status: Status;
  /** Ends the loop and the call to the server. A `next()` that waits resolves as done. */
  return(): Promise<IteratorResult<T, undefined>>;
}

/** The follower that `create` returns, which is created by the first step of its loop, or of one over its status. */
export function lazyFollower<T>(create: (code: LazyChunk) => LoadedFollower<T>): Follower<T> {
  let status: StatusChange = { current: "connecting", sinceMs: Date.now(), error: undefined };
  const follower = lazyValue((code) => {
    const loaded = create(code);
    ({ status } = loaded);
    return loaded;
  });
  const messages = lazyIterator(async () => (await follower()).messages);
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
      changes: (options) => lazyIterator(async () => (await follower()).status.changes(options) as never),
    },
  };
}
