import type { AntiEntropyAdvertisement, Digest, MapValue, Message } from "../../gen/atomix/map/map_pb.js";
import { compareUtf8 } from "../internal/utf8.js";
import { clockOf } from "./clock.js";
import { Outbox, type OutboxOptions } from "./outbox.js";
import type { Replica, Stored } from "./replica.js";
import { compareDigests, compareValues, isCutVersion, mayBeShared } from "./version.js";

/**
 * The keys of one advertisement. All members must take the same number: one with exactly as many keys is followed by
 * more of its round, one with fewer, or with more (a peer that sends all in one), is the last.
 */
const CHUNK_KEYS = 1000;

/** How long entries that were asked for may take before they are asked for again. */
const PATIENCE_MS = 10_000;

export interface LinkOptions extends Pick<OutboxOptions, "source" | "target" | "flushMs"> {
  /** Called when there is more to send than before, or sooner. Default: nothing. */
  wake?: () => void;
  /** Default: 1000. Another number is for tests. */
  chunkKeys?: number;
}

/** A round of advertisements that comes in. */
type Round = {
  /** The last key of the chunk before; undefined before the first. */
  after: string | undefined;
  /** The replica's revision when the round began. */
  revision: number;
  /** The lowest revision of an entry that the peer was seen to lack. */
  behind: number;
  /** Whether everything that it showed to be newer could be asked for. */
  whole: boolean;
};

/**
 * One map's share of the stream to a peer: takes in what the peer says, and knows what it is to be told.
 *
 * Comparing goes in rounds. One side advertises all its keys in order, a chunk at a time; the other sends what is
 * newer or missing there, asks for what is newer than its own, and then advertises in turn. A key that is not
 * advertised counts as missing only between the last key of the chunk before and that of this one, or to the end
 * where it is the last. Who sees the peer have all of its entries knows them to be safe.
 */
export class Link {
  readonly #replica: Replica;
  readonly #outbox: Outbox;
  readonly #chunkKeys: number;
  #round: Round | undefined;
  #comparedMs = Date.now();
  #confirmed = 0;
  #rounds = 0;
  #heardAll = false;
  #caughtUp = false;
  /** At which revisions the values of versions that may be shared were compared, by key. */
  readonly #looked = new Map<string, number>();

  constructor(replica: Replica, { chunkKeys = CHUNK_KEYS, wake = () => {}, ...options }: LinkOptions) {
    this.#replica = replica;
    this.#chunkKeys = chunkKeys;
    this.#outbox = new Outbox(replica, { ...options, chunkKeys, wake, patienceMs: PATIENCE_MS });
  }

  /** The peer has every entry that came with this revision or a lower one. */
  get confirmed(): number {
    return this.#confirmed;
  }

  /** How often the peer has told all its keys. */
  get rounds(): number {
    return this.#rounds;
  }

  /** Whether the peer has told all its keys since the link began, and what was newer there has arrived. */
  get caughtUp(): boolean {
    return this.#caughtUp;
  }

  /** How many entries and questions wait to be sent: never more than there are keys, and a bound. */
  get backlog(): number {
    return this.#outbox.backlog;
  }

  /** When next() has something to send, in Unix milliseconds; Infinity while there is nothing. */
  get dueMs(): number {
    return this.#outbox.dueMs;
  }

  /** Whether it is time to compare: after changes every `everyMs` (longer for a large map), else every `idleMs`. */
  isStale(nowMs: number, everyMs: number, idleMs: number): boolean {
    if (this.#outbox.comparing) return false;
    const { advertisedMs } = this.#outbox;
    // Digests take a bounded share of the bandwidth, so those of a large map are told less often.
    const shareMs = everyMs * Math.max(1, this.#replica.size / this.#chunkKeys);
    if (nowMs - advertisedMs < shareMs) return false;
    const alike = this.#confirmed >= this.#replica.revision && this.#outbox.satisfied;
    return !alike || nowMs - Math.max(this.#comparedMs, advertisedMs) >= idleMs;
  }

  /** Begins to compare, unless it has just begun. */
  advertise(): void {
    if (!this.#outbox.satisfied && !this.#outbox.comparing) {
      this.#outbox.giveUp();
      this.#heardAll = false;
    }
    this.#outbox.advertise();
  }

  /** Sends the entry at `key` to the peer before long, together with other changes. */
  changed(key: string): void {
    this.#outbox.changed(key);
  }

  /** What was stored came from the peer. */
  knows({ key, after, revision }: Stored): void {
    if (this.#confirmed === revision - 1) this.#confirmed = revision;
    if (after.digest && mayBeShared(after.digest)) this.#looked.set(key, revision);
  }

  /** Sends what waits now, not with later changes. */
  flush(): void {
    this.#outbox.flush();
  }

  /** The next message to the peer, or undefined while nothing is due. */
  next(nowMs: number): Message | undefined {
    return this.#outbox.next(nowMs);
  }

  /** Takes in a message of the peer. Returns the entries in it, which the caller stores. */
  receive({ message }: Message): [key: string, value: MapValue][] {
    if (message.case === undefined) return [];
    this.#replica.clock.observe(message.value.timestamp);
    switch (message.case) {
      case "update":
        return this.#arrived(Object.entries(message.value.updates));
      case "updateRequest":
        for (const key of message.value.keys) if (this.#replica.get(key)) this.#outbox.send(key);
        return [];
      case "antiEntropyAdvertisement":
        this.#compare(message.value);
        return [];
    }
  }

  #arrived(updates: [key: string, value: MapValue][]): [key: string, value: MapValue][] {
    for (const [key, value] of updates) {
      this.#outbox.arrived(key);
      const own = this.#replica.get(key);
      if (own && compareValues(own, value) > 0) this.#outbox.send(key);
    }
    this.#settle();
    return updates;
  }

  #compare({ digest }: AntiEntropyAdvertisement): void {
    const keys = Object.keys(digest).sort(compareUtf8);
    const [first] = keys;
    const last = keys.at(-1);
    const before = this.#round;
    if (before?.after !== undefined && first !== undefined && compareUtf8(first, before.after) <= 0) {
      // The peer begins anew: the chunk before, which was full so that more was to come, had been the last.
      this.#compareRange(before, undefined, {});
      this.#endRound(before);
    }
    const { revision } = this.#replica;
    const round = (this.#round ??= { after: undefined, revision, behind: Infinity, whole: true });
    const isLast = keys.length !== this.#chunkKeys;
    this.#compareRange(round, isLast ? undefined : last, digest);
    for (const key of keys) this.#compareKey(round, key, digest[key] as Digest);
    round.after = last;
    if (isLast) this.#endRound(round);
  }

  /** Sends what the peer did not list between the chunk before and `last`, or the end. */
  #compareRange(round: Round, last: string | undefined, listed: Record<string, Digest>): void {
    for (const key of this.#replica.keys(round.after, last)) {
      const own = this.#replica.get(key)?.digest;
      if (Object.hasOwn(listed, key) || (own && this.#replica.isOutdated(own))) continue;
      this.#push(round, key);
    }
  }

  #compareKey(round: Round, key: string, theirs: Digest): void {
    if (clockOf(theirs.timestamp) === undefined) return;
    const own = this.#replica.get(key);
    if (!own) {
      if (!this.#replica.isOutdated(theirs)) this.#want(round, key);
      return;
    }
    const order = compareDigests(theirs, own.digest);
    if (order > 0) this.#want(round, key);
    else if (order < 0 && !isCutVersion(theirs, own.digest)) this.#push(round, key);
    else if (mayBeShared(theirs)) this.#look(round, key);
  }

  /** What may be the same version may stand for another value there: that one is looked at, once. */
  #look(round: Round, key: string): void {
    const revision = this.#replica.revisionOf(key);
    if (this.#looked.get(key) === revision) return;
    // Keys that are forgotten by now do not add up.
    if (this.#looked.size > this.#replica.size) this.#looked.clear();
    this.#looked.set(key, revision);
    this.#want(round, key);
  }

  #want(round: Round, key: string): void {
    if (!this.#outbox.want(key)) round.whole = false;
  }

  #push(round: Round, key: string): void {
    round.behind = Math.min(round.behind, this.#replica.revisionOf(key));
    this.#outbox.send(key);
  }

  #endRound(round: Round): void {
    this.#round = undefined;
    this.#rounds++;
    this.#comparedMs = Date.now();
    this.#confirmed = Math.max(this.#confirmed, Math.min(round.revision, round.behind - 1));
    this.#heardAll ||= round.whole;
    this.#settle();
    this.#outbox.roundArrived();
  }

  #settle(): void {
    if (this.#heardAll && this.#outbox.satisfied) this.#caughtUp = true;
  }
}
