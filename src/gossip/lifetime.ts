import { clockOf, wallMsOf } from "./clock.js";

/** How long an entry lasts after it was written. It is at the end of the entry's timestamp. */
export interface Lifetime {
  /** In milliseconds, from the time of the timestamp on: a whole number above 0. */
  ttlMs: number;
  /** Whether the entry belongs to its member, and is removed when that member leaves. */
  isEphemeral: boolean;
}

/** The longest lifetime, in milliseconds: an int32 of seconds, 68 years, as everywhere in the API. */
export const MAX_LIFETIME_MS = (2 ** 31 - 1) * 1000;

/** Begins the lifetime in a timestamp. UTF-8 never has this byte, so it cannot be part of the member id before it. */
const MARK = 0xff;

const EPHEMERAL = 1;

/** Appends `lifetime` to a timestamp: the mark, a byte of flags, and the milliseconds as a varint. */
export function withLifetime(timestamp: Uint8Array, { ttlMs, isEphemeral }: Lifetime): Uint8Array {
  const suffix = [MARK, isEphemeral ? EPHEMERAL : 0];
  let rest = ttlMs;
  // The milliseconds have more than 32 bits, so they cannot be shifted.
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) suffix.push(0x80 + (rest % 0x80));
  return Uint8Array.of(...timestamp, ...suffix, rest);
}

/**
 * The lifetime in a timestamp; undefined if it has none, and "malformed" if what follows the mark is no lifetime. Flags
 * that are not known are ignored. A mark at the end is no lifetime: other implementations may end a timestamp with it.
 * Clock 0 has none: there, arbitrary bytes may follow, as at the reserved key.
 */
export function lifetimeOf(timestamp: Uint8Array): Lifetime | "malformed" | undefined {
  const markAt = timestamp.indexOf(MARK, 8);
  if (markAt < 0 || markAt === timestamp.length - 1) return undefined;
  if (clockOf(timestamp) === 0n) return undefined;
  const ttlMs = readVarint(timestamp.subarray(markAt + 2));
  if (ttlMs === undefined || ttlMs < 1 || ttlMs > MAX_LIFETIME_MS) return "malformed";
  return { ttlMs, isEphemeral: ((timestamp[markAt + 1] as number) & EPHEMERAL) !== 0 };
}

/** When an entry with this timestamp ends, in Unix milliseconds; Infinity if it has no lifetime. */
export function endMsOf(timestamp: Uint8Array): number {
  const lifetime = lifetimeOf(timestamp);
  return typeof lifetime === "object" ? wallMsOf(timestamp) + lifetime.ttlMs : Number.POSITIVE_INFINITY;
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
