import type { MapValue } from "../../../gen/atomix/map/map_pb.js";

/**
 * The documented order of the entries of one key, written again for the checks: by the timestamp's bytes, then a
 * tombstone after a value, then by the value's bytes. Positive if `a` wins.
 */
export function orderOf(a: MapValue, b: MapValue): number {
  const byTime = Buffer.compare(timestampOf(a), timestampOf(b));
  if (byTime !== 0) return byTime;
  const byKind = Number(isRemoval(a)) - Number(isRemoval(b));
  return byKind || Buffer.compare(a.value, b.value);
}

export const isRemoval = (entry: MapValue): boolean => entry.digest?.tombstone === true;

/**
 * When the lifetime of an entry ends, in Unix milliseconds; Infinity if it has none. It is documented as the byte 0xFF
 * after the member's id, a byte of flags, and the milliseconds as a varint, from the time of the timestamp on.
 */
export function endOf(entry: MapValue): number {
  const timestamp = timestampOf(entry);
  const markAt = timestamp.indexOf(0xff, 8);
  if (markAt < 0 || isRemoval(entry)) return Number.POSITIVE_INFINITY;
  const lifetimeMs = timestamp.subarray(markAt + 2).reduceRight((sum, byte) => sum * 128 + (byte & 127), 0);
  const clock = new DataView(timestamp.buffer, timestamp.byteOffset).getBigUint64(0);
  return Number(clock >> 16n) + lifetimeMs;
}

/** The id of the member that wrote an entry. */
export function writerOf(entry: MapValue): string {
  const timestamp = timestampOf(entry);
  const markAt = timestamp.indexOf(0xff, 8);
  return Buffer.from(timestamp.subarray(8, markAt < 0 ? undefined : markAt)).toString();
}

/** The clock of an entry, and what it has, for messages. */
export function describeEntry(entry: MapValue | undefined): string {
  if (!entry) return "nothing";
  const timestamp = timestampOf(entry);
  const clock = Buffer.from(timestamp.subarray(0, 8)).toString("hex");
  // Without the dots that make some values long.
  const value = `"${Buffer.from(entry.value).toString().replace(/\.+$/, "")}"`;
  const end = Number.isFinite(endOf(entry)) ? `, to ${endOf(entry)}` : "";
  return `${isRemoval(entry) ? "a removal" : value} at ${clock} by "${writerOf(entry)}"${end}`;
}

/** An absent timestamp is the clock 0. */
const timestampOf = (entry: MapValue): Uint8Array =>
  entry.digest?.timestamp.length ? entry.digest.timestamp : new Uint8Array(8);
