import type { Primitive } from "../server/primitives.js";
import type { Case } from "./case.js";
import {
  applyProfile,
  type Deviation,
  FAIRLEAD,
  type Profile,
  type Result,
  type Shortfall,
  shortfalls,
  unseenDeviations,
} from "./profile.js";
import { runCase } from "./run-case.js";
import { checkAlive, type Target } from "./target.js";

/** What came of all cases on one way to a server. */
export interface Run {
  /** What the way is called. */
  readonly way: string;
  /** How long it took, in milliseconds. */
  readonly ms: number;
  /** In the order of the suite. */
  readonly results: readonly Result[];
  /** The profile's deviations of which nothing was seen. */
  readonly unseenDeviations: readonly Deviation[];
  /** The primitives of which fewer cases passed than the profile wants. */
  readonly shortfalls: readonly Shortfall[];
  /** Why the run ended early: the server went away. What was not run by then is not among the results. */
  readonly lost?: string;
}

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

/** How cases are run. */
export interface RunOptions {
  /** What the way is called in the report. Default: "". */
  way?: string;
  /** What is expected. Default: all that Fairlead promises. */
  profile?: Profile;
  /** How many cases run at the same time. Default: 12. */
  atOnce?: number;
  /** Told of each case as it ends. Default: no one. */
  onResult?: (result: Result) => void;
}

/**
 * Runs `cases` on one way to a server. After each failure the server is asked whether it is still there; where it is not, the
 * run ends, and says so in `lost`.
 */
export async function run(
  target: Target,
  cases: readonly Case[],
  { way = "", profile = FAIRLEAD, atOnce = 12, onResult }: RunOptions = {},
): Promise<Run> {
  const beganMs = performance.now();
  const results: Result[] = [];
  const waiting = cases.entries();
  let lost: string | undefined;
  const look = async () => {
    const why = lost === undefined ? await checkAlive(target) : undefined;
    if (why !== undefined)
      lost ??= `the server went away, after ${results.flat().length} of ${cases.length} cases: ${why}`;
  };
  const work = async () => {
    for (const [i, one] of waiting) {
      if (lost !== undefined) return;
      const outcome = await runCase(one, target);
      if (outcome.status === "failed") await look();
      // What a case that was under way found then says nothing about it.
      if (lost !== undefined && outcome.status === "failed") return;
      const result = applyProfile(one, outcome, profile);
      results[i] = result;
      onResult?.(result);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  const told = results.flat();
  return {
    way,
    ms: performance.now() - beganMs,
    results: told,
    unseenDeviations: unseenDeviations(profile, told),
    shortfalls: lost === undefined ? shortfalls(profile, told) : [],
    ...(lost !== undefined && { lost }),
  };
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
