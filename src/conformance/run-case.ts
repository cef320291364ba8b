import type { Case } from "./case.js";
import { openCaseContext } from "./case-context.js";
import { within } from "./expect.js";
import { NEEDS } from "./needs.js";
import type { RecordedCall } from "./recorder.js";
import type { Target } from "./target.js";

/** The outcome of a case. */
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

/** The timeout of a case. No case needs that long. */
const TIMEOUT_MS = 15_000;

/** The timeout of the cleanup after a case. */
const CLEANUP_MS = 2000;

/** The reason why `one` cannot run on `target`; undefined if it can. */
function skipReason(one: Case, target: Target): string | undefined {
  const missing = one.needs.find((need) => !target.has.has(need));
  return missing && NEEDS[missing];
}

/** Runs one case. Never rejects. `timeoutMs`: the timeout of the case; default: 15 s. */
export async function runCase(one: Case, target: Target, timeoutMs = TIMEOUT_MS): Promise<Outcome> {
  const reason = skipReason(one, target);
  if (reason !== undefined) return { status: "skipped", reason };
  const { bench: context, calls, clear } = openCaseContext(target);
  const beganMs = performance.now();
  const took = () => performance.now() - beganMs;
  try {
    await within(timeoutMs, one.run(context), one.name);
    return { status: "passed", ms: took() };
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    // Copy the calls: those of the cleanup are not part of the case.
    return { status: "failed", ms: took(), error, calls: [...calls] };
  } finally {
    await within(CLEANUP_MS, clear(), "clearing away").catch(() => {});
  }
}

/** A recorded call as text with several lines. */
export function formatCall({ method, headers, sent, got, ended }: RecordedCall): string {
  const lines = [
    method,
    ...headers.map((header) => `  > ${header}`),
    ...sent.map((message) => `  > ${message}`),
    ...got.map((message) => `  < ${message}`),
    `  = ${ended || "still open"}`,
  ];
  return lines.join("\n");
}
