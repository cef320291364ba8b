import { clockOf, wallMsOf } from "./clock.js";
import { EPHEMERAL, suffixOf, withSuffix } from "./timestamp-suffix.js";

/** How long an entry lasts after it was written. It is at the end of the entry's timestamp. */
export interface Lifetime {
  /** In milliseconds, from the time of the timestamp on: a whole number above 0. */
  ttlMs: number;
  /** Whether the entry belongs to its member, and is removed when that member leaves. */
  isEphemeral: boolean;
}

/** The longest lifetime, in milliseconds: an int32 of seconds, 68 years, as everywhere in the API. */
export const MAX_LIFETIME_MS = (2 ** 31 - 1) * 1000;

/** Whether an entry with this timestamp is removed when its member leaves. */
export function isEphemeralTime(timestamp: Uint8Array): boolean {
  const lifetime = lifetimeOf(timestamp);
  return typeof lifetime === "object" && lifetime.isEphemeral;
}

/** Appends `lifetime` to a timestamp. */
export const withLifetime = (timestamp: Uint8Array, { ttlMs, isEphemeral }: Lifetime): Uint8Array =>
  withSuffix(timestamp, { flags: isEphemeral ? EPHEMERAL : 0, ms: ttlMs });

/**
 * The lifetime in a timestamp; undefined if it has none, and "malformed" if its suffix is not one. Flags that are not
 * known are ignored. Clock 0 has none: there, arbitrary bytes may follow, as at the reserved key.
 */
export function lifetimeOf(timestamp: Uint8Array): Lifetime | "malformed" | undefined {
  const suffix = suffixOf(timestamp);
  if (!suffix || clockOf(timestamp) === 0n) return undefined;
  if (suffix === "malformed" || suffix.ms < 1 || suffix.ms > MAX_LIFETIME_MS) return "malformed";
  return { ttlMs: suffix.ms, isEphemeral: (suffix.flags & EPHEMERAL) !== 0 };
}

/** When an entry with this timestamp ends, in Unix milliseconds; Infinity if it has no lifetime. */
export function endMsOf(timestamp: Uint8Array): number {
  const lifetime = lifetimeOf(timestamp);
  return typeof lifetime === "object" ? wallMsOf(timestamp) + lifetime.ttlMs : Number.POSITIVE_INFINITY;
}
