/**
 * Streams what `open` yields, and aborts the signal handed to `open` once the loop over it is left: Connect's own
 * streams go on after `break`.
 */
export async function* untilLeft<T>(
  open: (signal: AbortSignal) => AsyncIterable<T>,
  signal?: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  const left = new AbortController();
  try {
    yield* open(signal ? AbortSignal.any([signal, left.signal]) : left.signal);
  } finally {
    left.abort();
  }
}
