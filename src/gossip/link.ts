import type { AntiEntropyAdvertisement, Digest, MapValue, Message } from "../../gen/atomix/map/map_pb.js";
import { compareUtf8 } from "../lib/utf8.js";
import { clockOf } from "./clock.js";
import { Outbox, type OutboxOptions } from "./outbox.js";
import { type Replica, type Stored, sizeOf } from "./replica.js";
import { compareDigests, compareValues, isCutCopy, isCutVersion, mayBeShared } from "./version.js";

/**
 * The keys of one advertisement. All members must take the same number: one with exactly as many keys is followed by
 * more of its round, one with fewer, or with more (a peer that sends all in one), is the last.
 */
const CHUNK_KEYS = 1000;

/** About how many bytes it takes to compare a key, both ways. */
const DIGEST_BYTES = 128;

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
  /** The entries that the peer may lack, each with the oldest one of its key; known from the first whole round on. */
  readonly #unconfirmed = new Map<string, { value: MapValue; revision: number }>();
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

  /** Whether the peer has shown that it has the entry at `key`, or a newer one. */
  has(key: string): boolean {
    return this.#rounds > 0 && !this.#unconfirmed.has(key);
  }

  /** Whether the peer has shown that it has every entry that came with this revision or a lower one. */
  hasAll(upTo: number): boolean {
    if (this.#rounds === 0) return false;
    for (const { revision } of this.#unconfirmed.values()) if (revision <= upTo) return false;
    return true;
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
    const alike = this.#rounds > 0 && this.#unconfirmed.size === 0 && this.#outbox.satisfied;
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

  /**
   * Has the peer show that it has what it may lack: by asking for a few entries, which it has to send back, or by
   * comparing everything where that is less.
   */
  confirm(): void {
    this.#outbox.flush();
    if (this.#areFew([...this.#unconfirmed.keys()])) {
      for (const key of this.#unconfirmed.keys()) this.#outbox.check(key);
    } else if (!this.#outbox.awaiting) this.advertise();
  }

  /** Sends the entry at `key` to the peer before long, together with other changes. */
  changed(key: string): void {
    this.#mayLack(key);
    this.#outbox.changed(key);
  }

  /** What was stored came from the peer. */
  knows({ key, after, revision }: Stored): void {
    this.#unconfirmed.delete(key);
    if (after.digest && mayBeShared(after.digest)) this.#looked.set(key, revision);
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
      const isEcho = this.#outbox.arrived(key);
      const own = this.#replica.get(key);
      if (!own) continue;
      this.#shows(key, (entry) => compareValues(value, entry) >= 0 || isCutCopy(value, entry));
      const isOlder = compareValues(value, own) < 0 && !isCutCopy(value, own);
      // What was written since this side asked for its own entry is on its way already.
      if (isOlder && !isEcho) this.#push(key);
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
    const round = (this.#round ??= { after: undefined, whole: true });
    const isLast = keys.length !== this.#chunkKeys;
    this.#compareRange(round, isLast ? undefined : last, digest);
    for (const key of keys) this.#compareKey(round, key, digest[key] as Digest);
    round.after = last;
    if (isLast) this.#endRound(round);
  }

  /** Sends what the peer did not list between the chunk before and `last`, or the end. */
  #compareRange(round: Round, last: string | undefined, listed: Record<string, Digest>): void {
    for (const key of this.#replica.keys(round.after, last)) {
      if (Object.hasOwn(listed, key)) continue;
      const own = this.#replica.get(key)?.digest;
      if (own && this.#replica.isOutdated(own)) this.#unconfirmed.delete(key);
      else this.#push(key);
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
    const isCut = isCutVersion(theirs, own.digest);
    this.#shows(key, ({ digest }) => compareDigests(theirs, digest) >= 0 || isCut);
    if (order > 0) this.#want(round, key);
    else if (order < 0 && !isCut) this.#push(key);
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

  /** Sends the entry at `key` to the peer, which was seen to lack it. */
  #push(key: string): void {
    this.#mayLack(key);
    this.#outbox.send(key);
  }

  #mayLack(key: string): void {
    const value = this.#replica.get(key);
    if (!value || this.#unconfirmed.has(key)) return;
    this.#unconfirmed.set(key, { value, revision: this.#replica.revisionOf(key) });
  }

  /** The peer was seen to have every entry of `key` for which `covers` is true. */
  #shows(key: string, covers: (entry: MapValue) => boolean): void {
    const oldest = this.#unconfirmed.get(key);
    if (!oldest || !covers(oldest.value)) return;
    this.#unconfirmed.delete(key);
    const own = this.#replica.get(key);
    if (own && !covers(own)) this.#mayLack(key);
  }

  #areFew(keys: string[]): boolean {
    if (this.#rounds === 0 || keys.length > this.#chunkKeys) return false;
    const bytes = keys.reduce((sum, key) => sum + sizeOf(key, this.#replica.get(key)), 0);
    return bytes <= DIGEST_BYTES * this.#replica.size;
  }

  #endRound(round: Round): void {
    this.#round = undefined;
    this.#rounds++;
    this.#comparedMs = Date.now();
    this.#heardAll ||= round.whole;
    for (const key of this.#unconfirmed.keys()) if (!this.#replica.get(key)) this.#unconfirmed.delete(key);
    this.#settle();
    this.#outbox.roundArrived();
  }

  #settle(): void {
    if (this.#heardAll && this.#outbox.satisfied) this.#caughtUp = true;
  }
}
