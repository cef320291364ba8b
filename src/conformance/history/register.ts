import { AssertionError } from "../expect.js";
import type { Operation } from "./history.js";
import { findConflict, type Model } from "./linearizable.js";

/** An operation on a key that has one value, or none. */
export type RegisterStep =
  | { readonly do: "read" }
  | { readonly do: "write"; readonly value: string | undefined }
  /** Compare and set. No other write has the value `expected`. */
  | { readonly do: "exchange"; readonly expected: string | undefined; readonly value: string | undefined };

/** The value that a read returned, or whether an exchange was done. */
export type StepResult = { readonly value?: string | undefined; readonly isDone?: boolean };

const model: Model<string | undefined, RegisterStep, StepResult> = {
  initial: undefined,
  key: (state) => (state === undefined ? "" : `=${state}`),
  apply(state, step, found) {
    if (step.do === "read") return !found || found.value === state ? { state } : undefined;
    if (step.do === "write") return { state: step.value };
    const matches = state === step.expected;
    if (found && found.isDone !== matches) return undefined;
    return { state: matches ? step.value : state };
  },
};

/** Fails unless the operations are linearizable. */
export function checkRegister(key: string, operations: readonly Operation<RegisterStep, StepResult>[]): void {
  const stuck = findConflict(operations, model);
  if (!stuck) return;
  throw new AssertionError(
    `what clients read and wrote of ${key} has no order that explains it: none of these can come next\n${stuck.map(formatOperation).join("\n")}`,
  );
}

function formatOperation({
  client,
  input,
  output,
  calledAt,
  returnedAt,
}: Operation<RegisterStep, StepResult>): string {
  const what =
    input.do === "read"
      ? `read ${formatRead(output?.value)}`
      : input.do === "write"
        ? `wrote ${formatRead(input.value)}`
        : `exchanged ${formatRead(input.expected)} for ${formatRead(input.value)}: ${output ? (output.isDone ? "done" : "refused") : "unknown"}`;
  return `  client ${client}, from ${calledAt} to ${returnedAt}: ${what}`;
}

const formatRead = (value: string | undefined): string =>
  value === undefined ? "nothing" : JSON.stringify(value);
