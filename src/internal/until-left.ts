/**
 * Streams what `open` yields, and aborts the signal handed to `open` once the loop over it is left: Connect's own
 * streams go on after `break`.
 */
export async function* untilLeft<T>(
  open: (signal: AbortSignal) => AsyncIterable<T>,
  signal?: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  // Not AbortSignal.any(): a signal that outlives many streams would keep a trace of each.
  const ended = new AbortController();
  const abort = () => ended.abort(signal?.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  try {
    yield* open(ended.signal);
  } finally {
    signal?.removeEventListener("abort", abort);
    ended.abort();
  }
}
