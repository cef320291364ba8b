import type { Primitive } from "../server/primitives.js";
import type { Result, Shortfall } from "./profile.js";
import type { Run } from "./run.js";

/** What came of a whole conformance run. */
export interface Report {
  /** Where the server is. */
  readonly server: string;
  /** The profile that it was held against. */
  readonly profile: string;
  /** When the run ended. */
  readonly at: Date;
  /** One for each way. */
  readonly runs: readonly Run[];
}

/** How many cases came out in which way. */
export interface Counts {
  /** Those that hold. */
  passed: number;
  /** Those that do not, without a known deviation. */
  failed: number;
  /** Those that do not, by a known deviation. */
  deviates: number;
  /** Those that could not be run. */
  skipped: number;
}

/** What a result counts as. */
export function statusOf({ outcome, deviation }: Result): keyof Counts {
  return outcome.status === "failed" && deviation ? "deviates" : outcome.status;
}

/** How the results of a run, or of one primitive of it, came out. */
export function countResults(results: readonly Result[], primitive?: Primitive): Counts {
  const counts: Counts = { passed: 0, failed: 0, deviates: 0, skipped: 0 };
  for (const result of results) {
    if (primitive === undefined || result.case.primitive === primitive) counts[statusOf(result)]++;
  }
  return counts;
}

/** The primitives that the results are of, in their order. */
export const primitivesOf = (results: readonly Result[]): Primitive[] => [
  ...new Set(results.map((result) => result.case.primitive)),
];

/** What a result has to say for itself: an error, a reason, nothing. */
export function reasonOf({ outcome, deviation }: Result): string {
  if (outcome.status === "passed") return "";
  if (outcome.status === "skipped") return outcome.reason;
  const own = outcome.error.message;
  return deviation ? `${deviation.reason}: ${own}` : own;
}

/** Whether all that was expected holds: nothing failed, enough passed, and the server was there to the end. */
export const hasPassed = ({ results, shortfalls, lost }: Run): boolean =>
  lost === undefined && shortfalls.length === 0 && countResults(results).failed === 0;

/** A primitive of which too few cases passed, as a sentence. */
export const formatShortfall = ({ primitive, passed, floor, ran }: Shortfall): string =>
  `${primitive}: ${passed} of ${ran} cases passed, and this profile wants ${floor}`;
