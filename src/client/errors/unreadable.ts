import { Code, ConnectError } from "@connectrpc/connect";
import { quote } from "../../lib/quote.js";
import type { UnreadableFacts } from "../errors.js";

/** The place of a value. */
type Origin = Omit<UnreadableFacts, "bytes">;

const facts = new WeakMap<object, UnreadableFacts>();

/** The implementation of the public unreadableFacts(). */
export const unreadableIn = (error: unknown): UnreadableFacts | undefined => facts.get(Object(error));

/** The error of decoding `bytes` from `origin`. Its cause is the error of the codec. */
function unreadable(origin: Origin, bytes: Uint8Array, cause: unknown): ConnectError {
  const place = Object.entries(origin).map(([name, value]) => `${name} ${quote(value)}`);
  const message = `cannot decode the value of ${place.join(", ")}: ${messageOf(cause)}`;
  const error = new ConnectError(message, Code.DataLoss, undefined, undefined, cause);
  facts.set(error, { ...origin, bytes });
  return error;
}

/**
 * Sets `entry[property]` to the value of `bytes`. If they cannot be decoded, reading the property throws
 * `Code.DataLoss`.
 */
export function decodeInto<E extends object, K extends keyof E>(
  entry: E,
  property: K,
  codec: { decode(bytes: Uint8Array): E[K] },
  bytes: Uint8Array,
  origin: Origin,
): E {
  try {
    entry[property] = codec.decode(bytes);
  } catch (cause) {
    const get = () => {
      throw unreadable(origin, bytes, cause);
    };
    Object.defineProperty(entry, property, { enumerable: true, configurable: true, get });
  }
  return entry;
}

/** The message of an error, or the text of any other value that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
