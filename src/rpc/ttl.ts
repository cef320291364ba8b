import { checkType } from "../lib/checks.js";

/** The longest lifetime that the API can express: an int32 of seconds, 68 years. */
const MAX_SECONDS = 2 ** 31 - 1;

/** `ttlMs` in whole seconds, rounded up. Throws RangeError if it is out of range; `failure` begins the message. */
export function wholeSeconds(ttlMs: number, failure: string, { least }: { least: 0 | 1 }): number {
  checkType(failure, "ttlMs", "number", ttlMs);
  const seconds = Math.ceil(ttlMs / 1000);
  if (ttlMs >= 0 && seconds >= least && seconds <= MAX_SECONDS) return seconds;
  const range = `${least === 0 ? "0 or more" : "above 0"} and at most ${MAX_SECONDS} seconds`;
  throw new RangeError(`${failure}: ttlMs must be ${range}, got ${ttlMs}`);
}
