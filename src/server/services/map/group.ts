import type { ConnectError } from "@connectrpc/connect";
import type { Config } from "../../config/config.js";
import { unavailable } from "../../errors.js";

/** What the configuration says of a group of maps; undefined where it says nothing: it is this server's own. */
export type MapGroup = Config["maps"][string] | undefined;

/** How long a client should wait before it asks again who the primary is. */
const RETRY_AFTER_MS = 500;

/** Refuses what only the primary does. `primary` is its address, where it is known. */
export function notPrimaryError(primary?: string): ConnectError {
  const where = primary === undefined ? "a newer one has taken over" : `it is ${primary}`;
  return unavailable(`this server is not the primary of the partition: ${where}`, {
    retryAfterMs: RETRY_AFTER_MS,
    facts: primary === undefined ? {} : { primary },
  });
}

/** As what a primary writes. */
export interface Leadership {
  term: bigint;
  /**
   * The number that the versions of this term are above. Each configured term has 2^32 of its own, so that a new
   * primary cannot give a version again that the last one gave before it fell, even where it had not heard of it.
   */
  floor: bigint;
  /** Whether there are backups that must be told of deletions. */
  remembers: boolean;
}

/**
 * As what this server leads a partition that has seen the term `seen`; fails where it is not the primary, by the
 * configuration or because a later one has been heard of. A group that is not configured goes on in its last term.
 */
export function leadershipOf(group: MapGroup, seen: bigint): Leadership {
  if (!group) return { term: seen > 0n ? seen : 1n, floor: 0n, remembers: false };
  const { primary, term, backups } = group;
  if (primary !== undefined) throw notPrimaryError(primary);
  if (term < seen) throw notPrimaryError();
  return { term, floor: (term - 1n) << 32n, remembers: backups.length > 0 };
}

/** The term in which the configuration makes this server the primary; undefined where it does not. */
export const ownTerm = (group: MapGroup): bigint | undefined =>
  group && group.primary === undefined ? group.term : undefined;

/** Refuses a write that the backups would not get any more: after a close, one of them may become the primary. */
export const closingError = (): ConnectError =>
  unavailable("the server is closing", { retryAfterMs: RETRY_AFTER_MS });
