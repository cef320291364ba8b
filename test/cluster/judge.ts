import type { Operation } from "./operation.js";
import { workloads } from "./workloads.js";

/** A check of a workload that failed. */
export interface Violation {
  workload: string;
  message: string;
}

/** Checks the history of a run. Empty: nothing was lost, repeated, reordered or wrong. */
export function judge(operations: readonly Operation[]): Violation[] {
  const violations: Violation[] = [];
  for (const { name, check } of workloads) {
    const own = operations.filter(({ workload }) => workload === name);
    try {
      check(own);
      checkErrors(own);
    } catch (error) {
      violations.push({ workload: name, message: error instanceof Error ? error.message : String(error) });
    }
  }
  return violations;
}

/** Whether the followers and consumers of all workloads have what was acknowledged. */
export const areComplete = (operations: readonly Operation[]): boolean =>
  workloads.every(({ name, isComplete }) => {
    return !isComplete || isComplete(operations.filter(({ workload }) => workload === name));
  });

/** Fails if a call failed for a reason that no fault explains. */
function checkErrors(operations: readonly Operation[]): void {
  const unexpected = operations.find(({ isUnexpected }) => isUnexpected);
  if (unexpected) throw new Error(`${unexpected.client}, ${unexpected.kind}: ${unexpected.error}`);
}
