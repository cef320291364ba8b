import { Code } from "@connectrpc/connect";
import { type ConflictFacts, conflictIn, hasCode, infoIn, retryDelayMs } from "./error-facts.js";
import { factsOf, type UnreadableFacts } from "./unreadable.js";

// Functions of their own, not names for those of internal/: bundlers would put those into every page, where the lazily
// loaded half is all that uses them.

export type { ConflictFacts, UnreadableFacts };

/** A condition of the write did not hold: an etag, a version, a fence or an absence. Nothing was written. */
export const isConflict = (error: unknown): boolean => hasCode(error, Code.Aborted);

/** What was asked for is not there, and has to be. */
export const isNotFound = (error: unknown): boolean => hasCode(error, Code.NotFound);

/** The server or its engine could not be reached. The same call may succeed later; whether this one did is unknown. */
export const isUnavailable = (error: unknown): boolean => hasCode(error, Code.Unavailable);

/** A limit was hit; the message names it. */
export const isExhausted = (error: unknown): boolean => hasCode(error, Code.ResourceExhausted);

/** What a Fairlead server tells of a conflict; undefined for any other error, and where the server tells nothing. */
export const conflictFacts = (error: unknown): ConflictFacts | undefined => conflictIn(error);

/** The HTTP status that a service or a binding's target failed with; undefined where the error is not about one. */
export function httpStatus(error: unknown): number | undefined {
  const status = infoIn(error)?.["statusCode"];
  return status === undefined ? undefined : Number(status);
}

/** How long the server asks to wait before another try, in milliseconds; undefined where it does not say. */
export const retryAfterMs = (error: unknown): number | undefined => retryDelayMs(error);

/** The bytes of a value that could not be decoded, and where it stands; undefined for any other error. */
export const unreadableFacts = (error: unknown): UnreadableFacts | undefined => factsOf(error);
