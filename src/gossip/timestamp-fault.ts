import { clockOf, wallMsOf } from "./clock.js";
import { lifetimeOf, MAX_LIFETIME_MS } from "./lifetime.js";

/**
 * How far ahead of the wall clock a member's timestamp may be. Without a limit, one member with a wrong clock would
 * advance the clocks of all others for good.
 */
export const MAX_AHEAD_MS = 24 * 3_600_000;

/** Why a timestamp of another member is invalid; undefined if it is valid. */
export function timestampFault(timestamp: Uint8Array, nowMs: number): string | undefined {
  if (clockOf(timestamp) === undefined) return "must be empty or at least 8 bytes, a big-endian clock first";
  if (lifetimeOf(timestamp) === "malformed") {
    return `must have a byte of flags and a varint of 1 to ${MAX_LIFETIME_MS} ms after the byte 0xFF, and then end`;
  }
  const aheadMs = wallMsOf(timestamp) - nowMs;
  if (aheadMs <= MAX_AHEAD_MS) return undefined;
  return `must be at most ${MAX_AHEAD_MS / 3_600_000} hours ahead of the server's clock, in ms times 65536`;
}
