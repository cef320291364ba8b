import { Code, ConnectError } from "@connectrpc/connect";
import { quote } from "../../lib/quote.js";
import type { UnreadableFacts } from "../errors.js";

/** The place of a value. */
type Origin = Omit<UnreadableFacts, "bytes">;

const known = new WeakMap<object, UnreadableFacts>();

/** The implementation of the public unreadableFacts(). */
export const unreadableIn = (error: unknown): UnreadableFacts | undefined => known.get(Object(error));

/** The error of reading `bytes` from `origin`, with what the codec threw as its cause. */
function unreadable(origin: Origin, bytes: Uint8Array, cause: unknown): ConnectError {
  const place = Object.entries(origin).map(([name, value]) => `${name} ${quote(value)}`);
  const why = `cannot decode the value of ${place.join(", ")}: ${messageOf(cause)}`;
  const error = new ConnectError(why, Code.DataLoss, undefined, undefined, cause);
  known.set(error, { ...origin, bytes });
  return error;
}

/** Puts what `codec` makes of `bytes` into `entry`; where it fails, reading that property throws `Code.DataLoss`. */
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

/** What an error says, without its name. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
