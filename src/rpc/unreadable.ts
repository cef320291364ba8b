import { Code, ConnectError } from "@connectrpc/connect";
import { shown } from "../lib/checks.js";

/** Where a value stands that could not be decoded; only what applies is there. */
export interface Origin {
  /** The state store. */
  readonly store?: string;
  /** The map, or the gossip map. */
  readonly map?: string;
  /** The key in it. */
  readonly key?: string;
  /** The pubsub. */
  readonly pubsub?: string;
  /** The topic of the event. */
  readonly topic?: string;
  /** The id of the event. */
  readonly id?: string;
  /** The log. */
  readonly log?: string;
  /** The offset of the record in it. */
  readonly offset?: bigint;
  /** The app that answered so. */
  readonly service?: string;
  /** The method of it that was called. */
  readonly method?: string;
}

/** A value that could not be decoded: its bytes, and where it stands. */
export interface UnreadableFacts extends Origin {
  /** The value as it is stored. */
  readonly bytes: Uint8Array;
}

const known = new WeakMap<object, UnreadableFacts>();

/** The bytes of a value that could not be decoded, and where it stands; undefined for any other error. */
export const factsOf = (error: unknown): UnreadableFacts | undefined => known.get(Object(error));

/** The error of reading `bytes` from `origin`, with what the codec threw as its cause. */
function unreadable(origin: Origin, bytes: Uint8Array, cause: unknown): ConnectError {
  const place = Object.entries(origin).map(([name, value]) => `${name} ${shown(value)}`);
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
