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
