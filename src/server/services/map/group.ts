import type { ConnectError } from "@connectrpc/connect";
import type { Config } from "../../config/config.js";
import { unavailable } from "../../errors.js";

/** The configuration of a group of maps; undefined if it is not configured: this server is then the only member. */
export type MapGroup = Config["maps"][string] | undefined;

/** How long a client should wait before it tries to find the primary again. */
const RETRY_AFTER_MS = 500;

/** The error of a call that needs the primary. `primary`: its address, if it is known. */
export function notPrimaryError(primary?: string): ConnectError {
  const where = primary === undefined ? "a newer one has taken over" : `it is ${primary}`;
  return unavailable(`this server is not the primary of the partition: ${where}`, {
    retryAfterMs: RETRY_AFTER_MS,
    facts: primary === undefined ? {} : { primary },
  });
}

/** The error of a call to a primary whose lease has ended, because it could not renew it in time. */
export const leaseEndedError = (): ConnectError =>
  unavailable(
    "this server's lease as the primary of the partition has ended: it cannot reach the electing engine",
    {
      retryAfterMs: RETRY_AFTER_MS,
    },
  );

/** The error of a write that may have taken effect: this server has lost the lead before the backups confirmed it. */
export const unconfirmedError = (): ConnectError =>
  unavailable(
    "this server stopped being the primary before the backups confirmed: a write may have taken effect",
    {
      retryAfterMs: RETRY_AFTER_MS,
    },
  );

/** The error of a call to a partition that has no primary at the moment. */
export const noPrimaryError = (why: string): ConnectError =>
  unavailable(`the partition has no primary at the moment: ${why}`, { retryAfterMs: RETRY_AFTER_MS });

/** The role in which a primary writes. */
export interface Leadership {
  term: bigint;
  /**
   * All versions of this term are above this number. Each configured term has its own 2^32 versions, so that a new
   * primary never assigns a version of the previous one, even if it does not know of it.
   */
  floor: bigint;
  /** Whether deletions leave tombstones, which are replicated to the backups. */
  keepsTombstones: boolean;
}

/**
 * This server's leadership of a partition that has seen the term `seenTerm`. Fails if it is not the primary, by the
 * configuration or because there is a later one. A group that is not configured continues in its last term.
 */
export function leadershipOf(group: MapGroup, seenTerm: bigint): Leadership {
  if (!group) return { term: seenTerm > 0n ? seenTerm : 1n, floor: 0n, keepsTombstones: false };
  const { primary, term, backups } = group;
  if (primary !== undefined) throw notPrimaryError(primary);
  if (term < seenTerm) throw notPrimaryError();
  return { term, floor: (term - 1n) << 32n, keepsTombstones: backups.length > 0 };
}

/** The term in which this server is the primary by the configuration; undefined if it is not. */
export const ownTerm = (group: MapGroup): bigint | undefined =>
  group && group.primary === undefined ? group.term : undefined;

/** The error of a write during a close: it would not reach the backups, and one of them may become the primary. */
export const closingError = (): ConnectError =>
  unavailable("the server is closing", { retryAfterMs: RETRY_AFTER_MS });
