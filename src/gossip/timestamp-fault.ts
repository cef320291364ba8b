import { clockOf } from "./clock.js";
import { lifetimeOf, MAX_LIFETIME_MS } from "./lifetime.js";

/** Why a timestamp of another member is malformed; undefined if it is not. */
export function timestampFault(timestamp: Uint8Array): string | undefined {
  if (clockOf(timestamp) === undefined) return "must be empty or at least 8 bytes, a big-endian clock first";
  if (lifetimeOf(timestamp) === "malformed") {
    return `must have a byte of flags and a varint of 1 to ${MAX_LIFETIME_MS} ms after the byte 0xFF, and then end`;
  }
  return undefined;
}
