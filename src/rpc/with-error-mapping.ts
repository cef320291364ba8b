import type { Transport } from "@connectrpc/connect";
import { expectManyListeners } from "../lib/max-listeners.js";
import { hasMark, noteMark } from "./server-mark.js";

/** Gives the error that a caller is to see in the place of `error`; the same one where nothing is to be changed. */
export type ReadError = (error: unknown) => unknown;

/** For the calls to apps through the tunnel, which reports a lost connection as it is: their texts mean nothing. */
export const unchangedError: ReadError = (error) => error;

/** `transport` whose errors are what `read` makes of them, and which takes a `timeoutMs` of any size. */
export function withErrorMapping(transport: Transport, read: ReadError): Transport {
  // Once it is known, no headers are made of what a tunnel has sent.
  const note = (response: { header: Headers }) => {
    if (!hasMark(transport)) noteMark(transport, response.header);
  };
  return {
    async unary(method, signal, timeoutMs, header, input, values) {
      expectManyListeners(signal);
      try {
        const response = await transport.unary(method, signal, wholeMs(timeoutMs), header, input, values);
        note(response);
        return response;
      } catch (error) {
        throw await read(error);
      }
    },
    async stream(method, signal, timeoutMs, header, input, values) {
      expectManyListeners(signal);
      try {
        const response = await transport.stream(method, signal, wholeMs(timeoutMs), header, input, values);
        note(response);
        return { ...response, message: told(response.message, read) };
      } catch (error) {
        throw await read(error);
      }
    },
  };
}

/** gRPC has eight digits for a deadline, which Connect writes in milliseconds: a longer one is as good as that, 27 hours. */
const LONGEST_TIMEOUT_MS = 99_999_999;

/** Connect takes whole milliseconds only. */
function wholeMs(timeoutMs: number | undefined): number | undefined {
  if (timeoutMs === undefined) return undefined;
  if (Number.isNaN(timeoutMs))
    throw new RangeError("Cannot call: timeoutMs must be a number of milliseconds, got NaN");
  return Math.min(Math.ceil(timeoutMs), LONGEST_TIMEOUT_MS);
}

/** By hand instead of a generator: one promise fewer for each message. */
function told<T>(messages: AsyncIterable<T>, read: ReadError): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const inner = messages[Symbol.asyncIterator]();
      const rethrow = async (error: unknown) => {
        throw await read(error);
      };
      return {
        next: () => inner.next().catch(rethrow),
        ...(inner.return && {
          return: (value?: unknown) => inner.return?.(value) as Promise<IteratorResult<T>>,
        }),
      };
    },
  };
}
