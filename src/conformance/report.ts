import type { Primitive } from "../server/primitives.js";
import type { Result, Shortfall } from "./profile.js";
import type { Run } from "./run.js";

/** The results over all transports. */
export interface Report {
  /** The URL of the server. */
  readonly server: string;
  /** The name of the profile. */
  readonly profile: string;
  /** When the run ended. */
  readonly at: Date;
  /** One run for each transport. */
  readonly runs: readonly Run[];
}

/** The number of cases by status. */
export interface Counts {
  /** Cases that passed. */
  passed: number;
  /** Cases that failed without a known deviation. */
  failed: number;
  /** Cases that failed by a known deviation. */
  deviates: number;
  /** Cases that were skipped. */
  skipped: number;
}

/** The status that a result counts as. */
export function statusOf({ outcome, deviation }: Result): keyof Counts {
  return outcome.status === "failed" && deviation ? "deviates" : outcome.status;
}

/** Counts the results, or those of one primitive, by status. */
export function countResults(results: readonly Result[], primitive?: Primitive): Counts {
  const counts: Counts = { passed: 0, failed: 0, deviates: 0, skipped: 0 };
  for (const result of results) {
    if (primitive === undefined || result.case.primitive === primitive) counts[statusOf(result)]++;
  }
  return counts;
}

/** The primitives of the results, in order. */
export const primitivesOf = (results: readonly Result[]): Primitive[] => [
  ...new Set(results.map((result) => result.case.primitive)),
];

/** The error or the reason of a result; "" if it passed. */
export function resultReason({ outcome, deviation }: Result): string {
  if (outcome.status === "passed") return "";
  if (outcome.status === "skipped") return outcome.reason;
  const own = outcome.error.message;
  return deviation ? `${deviation.reason}: ${own}` : own;
}

/** Whether a run passed: no case failed, enough passed, and the server answered to the end. */
export const hasPassed = ({ results, shortfalls, lost }: Run): boolean =>
  lost === undefined && shortfalls.length === 0 && countResults(results).failed === 0;

/** A shortfall as a sentence. */
export const formatShortfall = ({ primitive, passed, floor, ran }: Shortfall): string =>
  `${primitive}: ${passed} of ${ran} cases passed, and this profile wants ${floor}`;
