import type { Transport } from "@connectrpc/connect";
import { mapMessages } from "../lib/map-messages.js";
import { expectManyListeners } from "../lib/max-listeners.js";
import { hasMark, noteMark } from "./server-mark.js";

/** Maps an error of a transport to the error that the caller gets; it may be the same. */
export type ErrorMapping = (error: unknown) => unknown;

/**
 * For calls to apps through the tunnel, which reports lost connections by itself. The texts of errors are the apps'.
 */
export const unchangedError: ErrorMapping = (error) => error;

/**
 * `transport` with errors mapped by `mapError`. It accepts a `timeoutMs` of any size, and notes whether the server is
 * Fairlead.
 */
export function withErrorMapping(transport: Transport, mapError: ErrorMapping): Transport {
  // Reads the headers only until the server is known: those of a tunnel are created when they are read.
  const note = (response: { header: Headers }) => {
    if (!hasMark(transport)) noteMark(transport, response.header);
  };
  const rethrow = async (error: unknown) => {
    throw await mapError(error);
  };
  return {
    async unary(method, signal, timeoutMs, header, input, values) {
      expectManyListeners(signal);
      try {
        const response = await transport.unary(method, signal, wholeMs(timeoutMs), header, input, values);
        note(response);
        return response;
      } catch (error) {
        return rethrow(error);
      }
    },
    async stream(method, signal, timeoutMs, header, input, values) {
      expectManyListeners(signal);
      try {
        const response = await transport.stream(method, signal, wholeMs(timeoutMs), header, input, values);
        note(response);
        return { ...response, message: mapMessages(response.message, undefined, rethrow) };
      } catch (error) {
        return rethrow(error);
      }
    },
  };
}

/** The longest deadline that gRPC can express in milliseconds, in eight digits: 27 hours. */
const LONGEST_TIMEOUT_MS = 99_999_999;

/** `timeoutMs` as an integer, since Connect takes no fractions, and at most LONGEST_TIMEOUT_MS. */
function wholeMs(timeoutMs: number | undefined): number | undefined {
  if (timeoutMs === undefined) return undefined;
  if (Number.isNaN(timeoutMs))
    throw new RangeError("Cannot call: timeoutMs must be a number of milliseconds, got NaN");
  return Math.min(Math.ceil(timeoutMs), LONGEST_TIMEOUT_MS);
}
