import { onAbort } from "./on-abort.js";

/**
 * Streams what `open` yields, and aborts the signal handed to `open` once the loop over it is left: Connect's own
 * streams go on after `break`.
 */
export async function* abortOnBreak<T>(
  open: (signal: AbortSignal) => AsyncIterable<T>,
  signal?: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  // Not AbortSignal.any(): a signal that outlives many streams would keep a trace of each.
  const ended = new AbortController();
  const stop = onAbort(signal, () => ended.abort(signal?.reason));
  try {
    yield* open(ended.signal);
  } finally {
    stop();
    ended.abort();
  }
}
