import { onAbort } from "./on-abort.js";

/**
 * Yields the items of `open`, and aborts the signal given to `open` when the loop over them is left: a call of Connect
 * does not end by `break`.
 */
export async function* abortOnBreak<T>(
  open: (signal: AbortSignal) => AsyncIterable<T>,
  signal?: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  // Not AbortSignal.any(): a signal that outlives many streams would keep a reference to each.
  const ended = new AbortController();
  const stopListening = onAbort(signal, () => ended.abort(signal?.reason));
  try {
    yield* open(ended.signal);
  } finally {
    stopListening();
    ended.abort();
  }
}
