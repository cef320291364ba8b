import { ConnectError } from "@connectrpc/connect";
import { UNPROCESSED_HEADER } from "./extension-headers.js";

const unprocessed = new WeakSet<object>();

/**
 * Notes on `error` that the server has certainly not processed the call, and returns it. It must be the error of no
 * other call: all calls of a connection that is lost may fail with the same one.
 */
export function markUnprocessed<E extends object>(error: E): E {
  unprocessed.add(error);
  return error;
}

/** Whether the server has certainly not processed the call that failed with `error`, so that it may be sent again. */
export function isUnprocessed(error: unknown): boolean {
  // Transports wrap errors, with the original as the cause.
  for (let each = error, depth = 0; each instanceof Error && depth < 8; each = each.cause, depth++) {
    if (unprocessed.has(each)) return true;
    if (each instanceof ConnectError && each.metadata.has(UNPROCESSED_HEADER)) return true;
  }
  return false;
}
