/**
 * `messages` with each step passed to `onStep`, and each failure to `onError`, which throws. Not a generator, which
 * would create one more promise for each message.
 */
export function mapMessages<T>(
  messages: AsyncIterable<T>,
  onStep: ((step: IteratorResult<T>) => IteratorResult<T>) | undefined,
  onError: (error: unknown) => Promise<never>,
): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const inner = messages[Symbol.asyncIterator]();
      const mapped = { next: () => inner.next().then(onStep, onError), return: inner.return?.bind(inner) };
      return mapped as AsyncIterator<T>;
    },
  };
}
