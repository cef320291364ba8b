/** What may follow the member id in a timestamp. */
export interface TimestampSuffix {
  /** Bits with a meaning: see EPHEMERAL and AHEAD. */
  flags: number;
  /** A whole number of milliseconds. */
  ms: number;
}

/** The entry belongs to its member; `ms` is its lifetime. */
export const EPHEMERAL = 1;

/** In a message: `ms` is how far the clock is ahead of the sender's wall clock. */
export const AHEAD = 2;

/** Begins the suffix. UTF-8 never has this byte, so it cannot be part of the member id before it. */
const MARK = 0xff;

/** Appends the mark, the flags, and the milliseconds as a varint. */
export function withSuffix(timestamp: Uint8Array, { flags, ms }: TimestampSuffix): Uint8Array {
  const suffix = [MARK, flags];
  let rest = ms;
  // The milliseconds have more than 32 bits, so they cannot be shifted.
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) suffix.push(0x80 + (rest % 0x80));
  return Uint8Array.of(...timestamp, ...suffix, rest);
}

/**
 * The suffix of a timestamp; undefined if it has none, and "malformed" if what follows the mark is none. A mark at the
 * end is no suffix: other implementations may end a timestamp with it.
 */
export function suffixOf(timestamp: Uint8Array): TimestampSuffix | "malformed" | undefined {
  const markAt = timestamp.indexOf(MARK, 8);
  if (markAt < 0 || markAt === timestamp.length - 1) return undefined;
  const ms = readVarint(timestamp.subarray(markAt + 2));
  return ms === undefined ? "malformed" : { flags: timestamp[markAt + 1] as number, ms };
}

/** The member id in a timestamp, in UTF-8. */
export function memberOf(timestamp: Uint8Array): Uint8Array {
  const markAt = timestamp.indexOf(MARK, 8);
  return timestamp.subarray(8, markAt < 0 ? undefined : markAt);
}

/** The number that `bytes` are the varint of; undefined if they are not one varint of at most 6 bytes. */
function readVarint(bytes: Uint8Array): number | undefined {
  if (bytes.length > 6) return undefined;
  let value = 0;
  for (const [i, byte] of bytes.entries()) {
    value += (byte & 0x7f) * 0x80 ** i;
    if (byte < 0x80) return i === bytes.length - 1 ? value : undefined;
  }
  return undefined;
}
