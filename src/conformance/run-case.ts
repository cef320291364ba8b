import type { Case } from "./case.js";
import { openCaseContext } from "./case-context.js";
import { within } from "./expect.js";
import { NEEDS } from "./needs.js";
import type { RecordedCall } from "./recorder.js";
import type { Target } from "./target.js";

/** What became of a case. */
export type Outcome =
  | { readonly status: "passed"; readonly ms: number }
  | {
      readonly status: "failed";
      readonly ms: number;
      readonly error: Error;
      /** The last calls of the case, in order. */
      readonly calls: readonly RecordedCall[];
    }
  | { readonly status: "skipped"; readonly reason: string };

/** No case takes that long; one that is not done by then waits for what does not come. */
const PATIENCE_MS = 15_000;

/** Clearing away is a kindness, and no reason to wait. */
const CLEARING_MS = 2000;

/** Why `one` cannot be run on `target`; undefined where it can. */
function skipReason(one: Case, target: Target): string | undefined {
  const missing = one.needs.find((need) => !target.has.has(need));
  return missing && NEEDS[missing];
}

/** Runs one case. It never fails itself. `patienceMs`: how long it may take; 15 s where it is left out. */
export async function runCase(one: Case, target: Target, patienceMs = PATIENCE_MS): Promise<Outcome> {
  const reason = skipReason(one, target);
  if (reason !== undefined) return { status: "skipped", reason };
  const { bench, calls, clear } = openCaseContext(target);
  const beganMs = performance.now();
  const took = () => performance.now() - beganMs;
  try {
    await within(patienceMs, one.run(bench), one.name);
    return { status: "passed", ms: took() };
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    // What is cleared away is not part of the case.
    return { status: "failed", ms: took(), error, calls: [...calls] };
  } finally {
    await within(CLEARING_MS, clear(), "clearing away").catch(() => {});
  }
}

/** A call that went over the wire, for a reader. */
export function formatCall({ method, headers, sent, got, ended }: RecordedCall): string {
  const lines = [
    method,
    ...headers.map((header) => `  > ${header}`),
    ...sent.map((message) => `  > ${message}`),
    ...got.map((message) => `  < ${message}`),
    `  = ${ended || "under way"}`,
  ];
  return lines.join("\n");
}
