import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type Digest,
  DigestSchema,
  type Entry,
  EntrySchema,
  type Value,
} from "../../../../gen/atomix/pb/map/map_pb.js";

/** An entry with a value: not a tombstone. */
export type LiveEntry = Entry & { value: Value };

/** An entry as the engine stores it: the whole message, so that fields of later API versions are kept. */
export const encodeEntry = (entry: Entry): Uint8Array => toBinary(EntrySchema, entry);

export const decodeEntry = (bytes: Uint8Array): Entry => fromBinary(EntrySchema, bytes);

export const encodeDigest = (term: bigint, timestamp: bigint): Uint8Array =>
  toBinary(DigestSchema, create(DigestSchema, { term, timestamp }));

export const decodeDigest = (bytes: Uint8Array): Digest => fromBinary(DigestSchema, bytes);

export const isLive = (entry: Entry | undefined): entry is LiveEntry => entry?.value !== undefined;

/** A tombstone records a deletion, so that an older write that arrives late does not restore the key. */
export const isEntryTombstone = (entry: Entry | undefined): entry is Entry =>
  entry !== undefined && entry.value === undefined;

/** The partition's counter at the write of an entry, which is also its version. */
export const timestampOf = ({ digest }: Entry): bigint => digest?.timestamp ?? 0n;

export const termOf = ({ digest }: Entry): bigint => digest?.term ?? 0n;

/** Whether `a` was written after `b`: compares the terms, then the timestamps. */
export function isNewer(a: Entry, b: Entry): boolean {
  if (termOf(a) !== termOf(b)) return termOf(a) > termOf(b);
  return timestampOf(a) > timestampOf(b);
}

/** About how many bytes an entry takes on the wire and in memory. */
export const entrySize = ({ key, value }: Pick<Entry, "key" | "value">): number =>
  key.length + (value?.value.length ?? 0) + 32;

/** The lower one of two numbers. */
export const lower = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/** The highest number; 0n if there are none. */
export function highest(numbers: Iterable<bigint>): bigint {
  let most = 0n;
  for (const number of numbers) if (number > most) most = number;
  return most;
}
