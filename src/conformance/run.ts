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
import { livenessError, type Target } from "./target.js";

/** The results of all cases over one transport. */
export interface Run {
  /** The name of the transport, such as "grpc". */
  readonly transport: string;
  /** The duration in milliseconds. */
  readonly ms: number;
  /** The results in the order of the suite. */
  readonly results: readonly Result[];
  /** Deviations of the profile that no case found. */
  readonly unseenDeviations: readonly Deviation[];
  /** The primitives of which fewer cases passed than the profile requires. */
  readonly shortfalls: readonly Shortfall[];
  /** The reason if the run ended early because the server went away. `results` then lacks the remaining cases. */
  readonly lost?: string;
}

/** Options of run(). */
export interface RunOptions {
  /** The name of the transport in the report. Default: "". */
  transport?: string;
  /** The profile that results are compared with. Default: FAIRLEAD, without deviations. */
  profile?: Profile;
  /** The number of cases that run at the same time. Default: 12. */
  atOnce?: number;
  /** Called with each result as its case ends. */
  onResult?: (result: Result) => void;
}

/**
 * Runs `cases` over one transport. After each failure it checks whether the server still answers. If it does not, the
 * run ends early, with the reason in `lost`.
 *
 */
export async function run(
  target: Target,
  cases: readonly Case[],
  { transport = "", profile = FAIRLEAD, atOnce = 12, onResult }: RunOptions = {},
): Promise<Run> {
  const beganMs = performance.now();
  const results: Result[] = [];
  const remaining = cases.entries();
  let lost: string | undefined;
  const checkServer = async () => {
    const why = lost === undefined ? await livenessError(target) : undefined;
    if (why !== undefined)
      lost ??= `the server went away, after ${results.flat().length} of ${cases.length} cases: ${why}`;
  };
  const runRemaining = async () => {
    for (const [i, one] of remaining) {
      if (lost !== undefined) return;
      const outcome = await runCase(one, target);
      if (outcome.status === "failed") await checkServer();
      // A case that failed because the server went away has no result.
      if (lost !== undefined && outcome.status === "failed") return;
      const result = applyProfile(one, outcome, profile);
      results[i] = result;
      onResult?.(result);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, runRemaining));
  const finished = results.flat();
  return {
    transport,
    ms: performance.now() - beganMs,
    results: finished,
    unseenDeviations: unseenDeviations(profile, finished),
    shortfalls: lost === undefined ? shortfalls(profile, finished) : [],
    ...(lost !== undefined && { lost }),
  };
}
