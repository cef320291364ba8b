import { Code, ConnectError } from "@connectrpc/connect";
import type { StepResult } from "./register.js";

/** The result of a conditional write: Code.Aborted means that it was not done. */
export async function conditionalWrite(write: Promise<unknown>): Promise<StepResult> {
  try {
    await write;
    return { isDone: true };
  } catch (reason) {
    if (ConnectError.from(reason).code === Code.Aborted) return { isDone: false };
    throw reason;
  }
}
