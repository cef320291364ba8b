import { Code, ConnectError } from "@connectrpc/connect";
import type { ErrorMapping } from "../rpc/with-error-mapping.js";
import { lazyChunk } from "./lazy.js";

/** Maps server- and transport-specific errors to one code per outcome, that of this project's error table. */
export const normalizeError = mappedBy("foreignError");

/** Maps the ways in which Connect's transports report a lost connection to `unavailable`, and nothing else. */
export const lostConnectionOnly = mappedBy("lostConnection");

/** The code for it is only loaded where an error may mean something else than it says. */
function mappedBy(by: "foreignError" | "lostConnection"): ErrorMapping {
  return async (error) => {
    if (!(error instanceof ConnectError) || PLAIN.has(error.code)) return error;
    // Who gives a call up need not wait for any code.
    if (error.code === Code.Canceled && !error.rawMessage.includes("CANCEL")) return error;
    try {
      return (await lazyChunk())[by](error);
    } catch {
      // Without the code for it, the error is told as it came.
      return error;
    }
  };
}

/** The codes that mean the same wherever they come from. */
const PLAIN = new Set([
  Code.DeadlineExceeded,
  Code.NotFound,
  Code.AlreadyExists,
  Code.ResourceExhausted,
  Code.OutOfRange,
  Code.Unimplemented,
  Code.Unavailable,
  Code.DataLoss,
  Code.Unauthenticated,
]);
