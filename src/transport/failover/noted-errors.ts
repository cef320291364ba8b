import type { StreamResponse } from "@connectrpc/connect";

/** `response`, whose messages pass the error that ends them to `note` first. */
export function withNotedErrors<R extends StreamResponse>(response: R, note: (error: unknown) => void): R {
  const rethrow = (error: unknown) => {
    note(error);
    throw error;
  };
  const message: AsyncIterable<unknown> = {
    [Symbol.asyncIterator]() {
      const inner: AsyncIterator<unknown> = response.message[Symbol.asyncIterator]();
      return {
        next: () => inner.next().catch(rethrow),
        ...(inner.return && {
          return: (value?: unknown) => inner.return?.(value) as Promise<IteratorResult<unknown>>,
        }),
      };
    },
  };
  return { ...response, message };
}
