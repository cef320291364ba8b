import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type Digest,
  DigestSchema,
  type Entry,
  EntrySchema,
  type Value,
} from "../../../../gen/atomix/pb/map/map_pb.js";

/** An entry that is there. */
export type LiveEntry = Entry & { value: Value };

/** An entry as the engine keeps it: the message itself, so that fields of later versions survive. */
export const encodeEntry = (entry: Entry): Uint8Array => toBinary(EntrySchema, entry);

export const decodeEntry = (bytes: Uint8Array): Entry => fromBinary(EntrySchema, bytes);

export const encodeDigest = (term: bigint, timestamp: bigint): Uint8Array =>
  toBinary(DigestSchema, create(DigestSchema, { term, timestamp }));

export const decodeDigest = (bytes: Uint8Array): Digest => fromBinary(DigestSchema, bytes);

export const isLive = (entry: Entry | undefined): entry is LiveEntry => entry?.value !== undefined;

/** A deletion that is remembered, so that an older write that comes late does not bring the key back. */
export const isEntryTombstone = (entry: Entry | undefined): entry is Entry =>
  entry !== undefined && entry.value === undefined;

/** When an entry was written: the partition's counter, which is also its version. */
export const timestampOf = ({ digest }: Entry): bigint => digest?.timestamp ?? 0n;

export const termOf = ({ digest }: Entry): bigint => digest?.term ?? 0n;

/** Whether `a` was written after `b`: digests compare by term, then by timestamp. */
export function isNewer(a: Entry, b: Entry): boolean {
  if (termOf(a) !== termOf(b)) return termOf(a) > termOf(b);
  return timestampOf(a) > timestampOf(b);
}

/** About what an entry takes on the wire and in memory, in bytes. */
export const entrySize = ({ key, value }: Pick<Entry, "key" | "value">): number =>
  key.length + (value?.value.length ?? 0) + 32;

/** Math.max for what is beyond it; 0n of none. */
export function highest(numbers: Iterable<bigint>): bigint {
  let most = 0n;
  for (const number of numbers) if (number > most) most = number;
  return most;
}
