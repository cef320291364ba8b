import type { Case, Primitive } from "./case.js";
import { type Deviation, FAIRLEAD, gone, judged, type Profile, type Result } from "./profile.js";
import { runCase } from "./run.js";
import type { Target } from "./target.js";

/** What came of all cases on one way to a server. */
export interface Run {
  /** What the way is called. */
  readonly way: string;
  /** How long it took, in milliseconds. */
  readonly ms: number;
  /** In the order of the suite. */
  readonly results: readonly Result[];
  /** The profile's deviations of which nothing was seen. */
  readonly gone: readonly Deviation[];
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

/** Runs `cases` on one way to a server. */
export async function run(
  target: Target,
  cases: readonly Case[],
  { way = "", profile = FAIRLEAD, atOnce = 12, onResult }: RunOptions = {},
): Promise<Run> {
  const beganMs = performance.now();
  const results: Result[] = [];
  const waiting = cases.entries();
  const work = async () => {
    for (const [i, one] of waiting) {
      const result = judged(one, await runCase(one, target), profile);
      results[i] = result;
      onResult?.(result);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return { way, ms: performance.now() - beganMs, results, gone: gone(profile, results) };
}

/** What a result counts as. */
export function kindOf({ outcome, deviation }: Result): keyof Counts {
  return outcome.status === "failed" && deviation ? "deviates" : outcome.status;
}

/** How the results of a run, or of one primitive of it, came out. */
export function counted(results: readonly Result[], primitive?: Primitive): Counts {
  const counts: Counts = { passed: 0, failed: 0, deviates: 0, skipped: 0 };
  for (const result of results) {
    if (primitive === undefined || result.case.primitive === primitive) counts[kindOf(result)]++;
  }
  return counts;
}

/** The primitives that the results are of, in their order. */
export const primitivesOf = (results: readonly Result[]): Primitive[] => [
  ...new Set(results.map((result) => result.case.primitive)),
];

/** What a result has to say for itself: an error, a reason, nothing. */
export function whyOf({ outcome, deviation }: Result): string {
  if (outcome.status === "passed") return "";
  if (outcome.status === "skipped") return outcome.reason;
  const own = outcome.error.message;
  return deviation ? `${deviation.why}: ${own}` : own;
}
