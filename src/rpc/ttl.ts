import { checkType } from "../lib/checks.js";

/** The longest lifetime of the wire: an int32 of seconds, 68 years. */
const MOST_SECONDS = 2 ** 31 - 1;

/** `ttlMs` in the whole seconds of the wire, rounded up; 0 clears. `what` begins the message of the error. */
export function wholeSeconds(ttlMs: number, what: string, { least }: { least: 0 | 1 }): number {
  checkType(what, "ttlMs", "number", ttlMs);
  const seconds = Math.ceil(ttlMs / 1000);
  if (ttlMs >= 0 && seconds >= least && seconds <= MOST_SECONDS) return seconds;
  const range = `${least === 0 ? "0 or more" : "above 0"} and at most ${MOST_SECONDS} seconds`;
  throw new RangeError(`${what}: ttlMs must be ${range}, got ${ttlMs}`);
}
