import type { Digest } from "../../gen/atomix/map/map_pb.js";
import { clockOf } from "./clock.js";
import type { Confirmations } from "./confirmations.js";
import type { Outbox } from "./outbox.js";
import type { ExchangeId } from "./reserved-key.js";
import type { LinkedReplica } from "./restricted-replica.js";
import { keysOf, type RoundScope } from "./round.js";
import { compareDigests, isAmbiguous, isTruncatedVersion } from "./version.js";

/** A round of the peer, as far as it has arrived. */
export interface IncomingRound {
  scope: RoundScope;
  /** Undefined if the peer knows only rounds over all keys. */
  id: ExchangeId | undefined;
  /** Whether it answers a round of this side. */
  isAnswer: boolean;
  /** The last key of the previous part; undefined before the first part. */
  after: string | undefined;
  /** Whether all newer entries of the peer could be requested. */
  isWhole: boolean;
}

/**
 * Compares the digests of a peer's round with the replica. Sends the entries that are newer here or missing there, and
 * requests those that are newer there. A listed entry is confirmed: the peer has it.
 */
export class DigestComparison {
  readonly #replica: LinkedReplica;
  readonly #outbox: Outbox;
  readonly #confirmations: Confirmations;
  /** The revisions at which the values of ambiguous versions were compared, by key. */
  readonly #comparedRevisions = new Map<string, number>();

  constructor(replica: LinkedReplica, outbox: Outbox, confirmations: Confirmations) {
    this.#replica = replica;
    this.#outbox = outbox;
    this.#confirmations = confirmations;
  }

  /**
   * Compares one part of a round: `keys` are those of `digests`, in order. It covers the keys after the previous part
   * up to its own last key, or to the end if it is the last part. A key in that range that is not listed is missing.
   */
  compare(
    round: IncomingRound,
    keys: readonly string[],
    digests: Record<string, Digest>,
    isLast: boolean,
  ): void {
    const last = keys.at(-1);
    if (isLast || last !== undefined) {
      this.#sendMissing(round, isLast ? undefined : last, digests);
      for (const key of keys) this.#compareKey(round, key, digests[key] as Digest);
    }
    round.after = last ?? round.after;
  }

  /** Sends the entry at `key`, which the peer lacks. */
  push(key: string): void {
    this.#confirmations.lacks(key);
    this.#outbox.send(key);
  }

  /** To be called when the peer's entry was stored as `revision`, so that its value is not requested again. */
  stored(key: string, digest: Digest | undefined, revision: number): void {
    if (digest && isAmbiguous(digest)) this.#comparedRevisions.set(key, revision);
  }

  #sendMissing(
    { scope, after }: IncomingRound,
    last: string | undefined,
    listed: Record<string, Digest>,
  ): void {
    for (const key of keysOf(this.#replica, scope, after, last)) {
      if (Object.hasOwn(listed, key)) continue;
      const own = this.#replica.get(key)?.digest;
      if (own && this.#replica.isOutdated(own)) this.#confirmations.delete(key);
      else this.push(key);
    }
  }

  #compareKey(round: IncomingRound, key: string, theirs: Digest): void {
    if (clockOf(theirs.timestamp) === undefined) return;
    const own = this.#replica.get(key);
    if (!own) {
      if (!this.#replica.isOutdated(theirs)) this.#request(round, key);
      return;
    }
    const order = compareDigests(theirs, own.digest);
    const isCut = isTruncatedVersion(theirs, own.digest);
    this.#confirmations.confirmUpTo(key, ({ digest }) => compareDigests(theirs, digest) >= 0 || isCut);
    if (order > 0) this.#request(round, key);
    else if (order < 0 && !isCut) this.push(key);
    else if (isAmbiguous(theirs)) this.#requestOnce(round, key);
  }

  /** Requests the entry of an ambiguous version, once per revision: the peer may have another value. */
  #requestOnce(round: IncomingRound, key: string): void {
    const revision = this.#replica.revisionOf(key);
    if (this.#comparedRevisions.get(key) === revision) return;
    // Removes forgotten keys.
    if (this.#comparedRevisions.size > this.#replica.size) this.#comparedRevisions.clear();
    this.#comparedRevisions.set(key, revision);
    this.#request(round, key);
  }

  #request(round: IncomingRound, key: string): void {
    if (!this.#outbox.request(key)) round.isWhole = false;
  }
}
