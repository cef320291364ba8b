import { Code, ConnectError } from "@connectrpc/connect";
import type { StepResult } from "./register.js";

/** Whether a conditional write was done. */
export async function conditionalWrite(write: Promise<unknown>): Promise<StepResult> {
  try {
    await write;
    return { isDone: true };
  } catch (reason) {
    if (ConnectError.from(reason).code === Code.Aborted) return { isDone: false };
    throw reason;
  }
}
