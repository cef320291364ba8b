import { Code, ConnectError } from "@connectrpc/connect";
import type { Found } from "./register.js";

/** Whether a conditional write was done. */
export async function exchanged(write: Promise<unknown>): Promise<Found> {
  try {
    await write;
    return { isDone: true };
  } catch (reason) {
    if (ConnectError.from(reason).code === Code.Aborted) return { isDone: false };
    throw reason;
  }
}
