import { Code } from "@connectrpc/connect";
import { conflictIn, hasCode, infoIn, retryDelayMs } from "./errors/facts.js";
import { unreadableIn } from "./errors/unreadable.js";

/** The state that a conditional write met instead of the one that it required. */
export interface ConflictFacts {
  /** The key, or the locked resource. */
  key: string;
  /** The etag that the entry has now, "" if there is no entry; undefined if the condition was not an etag. */
  etag: string | undefined;
  /** The version that the map's entry has now, 0n if there is none; undefined if the condition was not a version. */
  version: bigint | undefined;
  /** The newest fence of the resource; undefined if the condition was not a fence. */
  fence: bigint | undefined;
}

/** A value that could not be decoded, and its place; only the properties that apply are present. */
export interface UnreadableFacts {
  /** The value as it is stored. */
  readonly bytes: Uint8Array;
  /** The state store. */
  readonly store?: string;
  /** The map, or the gossip map. */
  readonly map?: string;
  /** The key in the store or map. */
  readonly key?: string;
  /** The pubsub. */
  readonly pubsub?: string;
  /** The topic of the event. */
  readonly topic?: string;
  /** The id of the event. */
  readonly id?: string;
  /** The log. */
  readonly log?: string;
  /** The offset of the record in the log. */
  readonly offset?: bigint;
  /** The app that sent the value as its answer. */
  readonly service?: string;
  /** The method of the app that was called. */
  readonly method?: string;
}

// Functions of their own, not other names for those of errors/facts.ts: bundlers would put those into every page, and
// only the lazily loaded chunk uses them.

/** Whether a condition of a write did not hold: an etag, a version, a fence or an absence. Nothing was written. */
export const isConflict = (error: unknown): boolean => hasCode(error, Code.Aborted);

/** Whether the call required something that does not exist. */
export const isNotFound = (error: unknown): boolean => hasCode(error, Code.NotFound);

/**
 * Whether the server or its engine could not be reached. The same call may succeed later; whether this one took effect
 * is unknown.
 */
export const isUnavailable = (error: unknown): boolean => hasCode(error, Code.Unavailable);

/** Whether the call hit a limit; the message names it. */
export const isExhausted = (error: unknown): boolean => hasCode(error, Code.ResourceExhausted);

/**
 * The details that a Fairlead server sends with a conflict; undefined for other errors, and if the server sends none.
 */
export const conflictFacts = (error: unknown): ConflictFacts | undefined => conflictIn(error);

/** The HTTP status with which a service or a binding's target failed; undefined for errors without one. */
export function httpStatus(error: unknown): number | undefined {
  const status = infoIn(error)?.["statusCode"];
  return status === undefined ? undefined : Number(status);
}

/** How long the server asks to wait before a retry, in milliseconds; undefined if it does not say. */
export const retryAfterMs = (error: unknown): number | undefined => retryDelayMs(error);

/** The bytes and the place of a value that could not be decoded; undefined for any other error. */
export const unreadableFacts = (error: unknown): UnreadableFacts | undefined => unreadableIn(error);
