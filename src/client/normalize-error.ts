import { Code, ConnectError } from "@connectrpc/connect";
import type { ErrorMapping } from "../rpc/with-error-mapping.js";
import { lazyChunk } from "./lazy.js";

/** Maps server- and transport-specific errors to one code per outcome, as the error table has it. */
export const normalizeError = lazyErrorMapping("foreignError");

/** Maps only the errors by which Connect's transports report a lost connection: to `unavailable`. */
export const lostConnectionOnly = lazyErrorMapping("lostConnection");

/** Loads the mapping only for codes that servers and transports use differently. */
function lazyErrorMapping(mapping: "foreignError" | "lostConnection"): ErrorMapping {
  return async (error) => {
    if (!(error instanceof ConnectError) || !AMBIGUOUS.has(error.code)) return error;
    // The caller has canceled the call: nothing to map.
    if (error.code === Code.Canceled && !error.rawMessage.includes("CANCEL")) return error;
    try {
      return (await lazyChunk())[mapping](error);
    } catch {
      return error;
    }
  };
}

/** The codes that servers and transports use for different outcomes. */
const AMBIGUOUS = new Set([
  Code.Canceled,
  Code.Unknown,
  Code.InvalidArgument,
  Code.PermissionDenied,
  Code.FailedPrecondition,
  Code.Aborted,
  Code.Internal,
]);
