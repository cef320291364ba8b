import { clockOf } from "./clock.js";
import { lifetimeOf, MAX_LIFETIME_MS } from "./lifetime.js";

/** Why a timestamp of another member is malformed; undefined if it is not. */
export function timestampFault(timestamp: Uint8Array): string | undefined {
  const clock = clockOf(timestamp);
  if (clock === undefined) return "must be empty or at least 8 bytes, a big-endian clock first";
  // The record of the reserved key has any bytes after clock 0, which no entry with a lifetime has.
  if (clock === 0n) return undefined;
  if (lifetimeOf(timestamp) === "malformed") {
    return `must have a byte of flags and a varint of 1 to ${MAX_LIFETIME_MS} ms after the byte 0xFF, and then end`;
  }
  return undefined;
}
