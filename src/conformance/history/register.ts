import { AssertionError } from "../expect.js";
import type { RecordedOperation } from "./history.js";
import { findViolation, type Model } from "./linearizable.js";

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
  apply(state, step, result) {
    if (step.do === "read") return !result || result.value === state ? { state } : undefined;
    if (step.do === "write") return { state: step.value };
    const matches = state === step.expected;
    if (result && result.isDone !== matches) return undefined;
    return { state: matches ? step.value : state };
  },
};

/** Fails unless the operations are linearizable. */
export function checkRegister(
  key: string,
  operations: readonly RecordedOperation<RegisterStep, StepResult>[],
): void {
  const stuck = findViolation(operations, model);
  if (!stuck) return;
  throw new AssertionError(
    `the reads and writes of ${key} are not linearizable: none of these can come next\n` +
      stuck.map(formatOperation).join("\n"),
  );
}

function formatOperation(operation: RecordedOperation<RegisterStep, StepResult>): string {
  const { client, calledAt, returnedAt } = operation;
  return `  client ${client}, from ${calledAt} to ${returnedAt}: ${formatStep(operation)}`;
}

function formatStep({ input, output }: RecordedOperation<RegisterStep, StepResult>): string {
  if (input.do === "read") return `read ${formatRead(output?.value)}`;
  if (input.do === "write") return `wrote ${formatRead(input.value)}`;
  const outcome = output ? (output.isDone ? "done" : "refused") : "unknown";
  return `exchanged ${formatRead(input.expected)} for ${formatRead(input.value)}: ${outcome}`;
}

const formatRead = (value: string | undefined): string =>
  value === undefined ? "nothing" : JSON.stringify(value);
