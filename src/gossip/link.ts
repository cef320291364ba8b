import type { AntiEntropyAdvertisement, Digest, MapValue, Message } from "../../gen/atomix/map/map_pb.js";
import { compareUtf8 } from "../lib/compare-utf8.js";
import { clockOf } from "./clock.js";
import { Outbox, type OutboxOptions } from "./outbox.js";
import { type Replica, type Stored, sizeOf } from "./replica.js";
import {
  compareDigests,
  compareValues,
  isAmbiguous,
  isTruncatedCopy,
  isTruncatedVersion,
} from "./version.js";

/**
 * The number of keys in one advertisement, which all members must share. After exactly so many, more advertisements of
 * the round follow. One with fewer keys is the last; so is one with more, by a peer that sends all keys at once.
 */
const CHUNK_KEYS = 1000;

/** The approximate cost of comparing a key, both ways, in bytes. */
const DIGEST_BYTES = 128;

/** How long to wait for requested entries before they are requested again. */
const REQUEST_TIMEOUT_MS = 10_000;

export interface LinkOptions extends Pick<OutboxOptions, "source" | "target" | "flushMs"> {
  /** Called when there is more to send, or when something is due earlier. Default: no function. */
  wake?: () => void;
  /** The number of keys in one advertisement. Default: 1000; tests use less. */
  chunkKeys?: number;
}

/** An entry that the peer may lack: the oldest one of its key. Later ones may replace it before it is sent. */
type Unconfirmed = {
  value: MapValue;
  revision: number;
  /** The peer may lack all entries of the key from this revision on. */
  since: number;
  /** The entry of the key when the peer was last asked to confirm it. */
  asked?: { value: MapValue; revision: number };
};

/** An incoming round of advertisements. */
type IncomingRound = {
  /** The last key of the previous chunk; undefined before the first chunk. */
  after: string | undefined;
  /** Whether all newer entries of the peer could be requested. */
  isWhole: boolean;
};

/**
 * One map on the stream to one peer: handles the peer's messages, and decides what to send to it.
 *
 * Copies are compared in rounds. One side advertises the digests of all its keys in order, in chunks. The other side
 * sends entries that are newer or missing there, requests newer ones, and then advertises its own keys. A chunk covers
 * the keys after the last key of the previous chunk up to its own last key, or to the end if it is the last chunk. A
 * key in that range that is not advertised is missing. An advertised entry is confirmed: the peer has it.
 */
export class Link {
  readonly #replica: Replica;
  readonly #outbox: Outbox;
  readonly #chunkKeys: number;
  #round: IncomingRound | undefined;
  #comparedMs: number;
  /** The entries that the peer may lack. Complete after the first round. */
  readonly #unconfirmed = new Map<string, Unconfirmed>();
  #rounds = 0;
  #hasWholeRound = false;
  #caughtUp = false;
  /** The revisions at which the values of ambiguous versions were compared, by key. */
  readonly #comparedRevisions = new Map<string, number>();

  constructor(replica: Replica, { chunkKeys = CHUNK_KEYS, wake = () => {}, ...options }: LinkOptions) {
    this.#replica = replica;
    this.#chunkKeys = chunkKeys;
    this.#comparedMs = replica.environment.monotonicMs();
    this.#outbox = new Outbox(replica, { ...options, chunkKeys, wake, requestTimeoutMs: REQUEST_TIMEOUT_MS });
  }

  /** Whether the peer has confirmed the entry at `key`, or a newer one. */
  has(key: string): boolean {
    return this.#rounds > 0 && !this.#unconfirmed.has(key);
  }

  /** Whether the peer has confirmed all entries up to `revision`. */
  hasAll(revision: number): boolean {
    if (this.#rounds === 0) return false;
    for (const entry of this.#unconfirmed.values()) if (entry.since <= revision) return false;
    return true;
  }

  /** The number of rounds that the peer has completed. */
  get rounds(): number {
    return this.#rounds;
  }

  /** Whether the peer has completed a round, and all its newer entries have arrived. */
  get caughtUp(): boolean {
    return this.#caughtUp;
  }

  /** The number of pending entries and requests: at most the number of keys, and a constant. */
  get backlog(): number {
    return this.#outbox.backlog;
  }

  /** When next() has something to send, by the monotonic clock; Infinity if there is nothing. */
  get dueMs(): number {
    return this.#outbox.dueMs;
  }

  /** Whether a comparison is due: after changes every `everyMs` (longer for a large map), else every `idleMs`. */
  isStale(nowMs: number, everyMs: number, idleMs: number): boolean {
    if (this.#outbox.isComparing) return false;
    const { advertisedMs } = this.#outbox;
    // Large maps are advertised less often, to limit the bandwidth of digests.
    const intervalMs = everyMs * Math.max(1, this.#replica.size / this.#chunkKeys);
    if (nowMs - advertisedMs < intervalMs) return false;
    const isInSync = this.#rounds > 0 && this.#unconfirmed.size === 0 && this.#outbox.hasAllRequested;
    return !isInSync || nowMs - Math.max(this.#comparedMs, advertisedMs) >= idleMs;
  }

  /** Starts a comparison, unless one is in progress. */
  advertise(): void {
    if (!this.#outbox.hasAllRequested && !this.#outbox.isComparing) {
      this.#outbox.forgetRequests();
      this.#hasWholeRound = false;
    }
    this.#outbox.advertise();
  }

  /** Makes the peer confirm what it may lack: requests these entries from it, or compares all if that costs less. */
  confirm(): void {
    this.#outbox.flush();
    for (const [key, unconfirmed] of this.#unconfirmed) {
      const value = this.#replica.get(key);
      if (value) unconfirmed.asked = { value, revision: this.#replica.revisionOf(key) };
    }
    if (this.#isCheaperToRequest([...this.#unconfirmed.keys()])) {
      for (const key of this.#unconfirmed.keys()) this.#outbox.confirm(key);
    } else if (!this.#outbox.awaitsRound) this.advertise();
  }

  /** Sends the entry at `key` to the peer within `flushMs`, together with other changes. */
  changed(key: string): void {
    // Before the first round it is unknown how many earlier entries of the key the peer lacks, too.
    this.#mayLack(key, this.#rounds === 0 ? 0 : this.#replica.revisionOf(key));
    this.#outbox.changed(key);
  }

  /** To be called when an entry of the peer was stored. */
  knows({ key, after, revision }: Stored): void {
    this.#unconfirmed.delete(key);
    if (after.digest && isAmbiguous(after.digest)) this.#comparedRevisions.set(key, revision);
  }

  /** The next message to the peer; undefined if nothing is due. */
  next(nowMs: number): Message | undefined {
    return this.#outbox.next(nowMs);
  }

  /** Handles a message of the peer. Returns its entries, which the caller stores. */
  receive({ message }: Message): [key: string, value: MapValue][] {
    if (message.case === undefined) return [];
    this.#replica.clock.observe(message.value.timestamp);
    switch (message.case) {
      case "update":
        return this.#receiveUpdates(Object.entries(message.value.updates));
      case "updateRequest":
        for (const key of message.value.keys) if (this.#replica.get(key)) this.#outbox.send(key);
        return [];
      case "antiEntropyAdvertisement":
        this.#compare(message.value);
        return [];
    }
  }

  #receiveUpdates(updates: [key: string, value: MapValue][]): [key: string, value: MapValue][] {
    for (const [key, value] of updates) {
      const isEcho = this.#outbox.received(key);
      const own = this.#replica.get(key);
      if (!own) continue;
      this.#confirmUpTo(key, (entry) => compareValues(value, entry) >= 0 || isTruncatedCopy(value, entry));
      const isOlder = compareValues(value, own) < 0 && !isTruncatedCopy(value, own);
      // A newer entry that was written after the request for a confirmation is already pending.
      if (isOlder && !isEcho) this.#push(key);
    }
    this.#updateCaughtUp();
    return updates;
  }

  #compare({ digest }: AntiEntropyAdvertisement): void {
    const keys = Object.keys(digest).sort(compareUtf8);
    const [first] = keys;
    const last = keys.at(-1);
    const previous = this.#round;
    if (previous?.after !== undefined && first !== undefined && compareUtf8(first, previous.after) <= 0) {
      // The peer starts a new round: its previous chunk was full, but was the last one.
      this.#compareRange(previous, undefined, {});
      this.#endRound(previous);
    }
    const round = (this.#round ??= { after: undefined, isWhole: true });
    const isLast = keys.length !== this.#chunkKeys;
    this.#compareRange(round, isLast ? undefined : last, digest);
    for (const key of keys) this.#compareKey(round, key, digest[key] as Digest);
    round.after = last;
    if (isLast) this.#endRound(round);
  }

  /** Sends the entries that the peer did not list after the previous chunk, up to `last` or the end. */
  #compareRange(round: IncomingRound, last: string | undefined, listed: Record<string, Digest>): void {
    for (const key of this.#replica.keys(round.after, last)) {
      if (Object.hasOwn(listed, key)) continue;
      const own = this.#replica.get(key)?.digest;
      if (own && this.#replica.isOutdated(own)) this.#unconfirmed.delete(key);
      else this.#push(key);
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
    this.#confirmUpTo(key, ({ digest }) => compareDigests(theirs, digest) >= 0 || isCut);
    if (order > 0) this.#request(round, key);
    else if (order < 0 && !isCut) this.#push(key);
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

  /** Sends the entry at `key`, which the peer lacks. */
  #push(key: string): void {
    this.#mayLack(key, 0);
    this.#outbox.send(key);
  }

  #mayLack(key: string, since: number): void {
    const value = this.#replica.get(key);
    if (!value || this.#unconfirmed.has(key)) return;
    this.#unconfirmed.set(key, { value, revision: this.#replica.revisionOf(key), since });
  }

  /** Confirms the entries of `key` for which `covers` returns true. */
  #confirmUpTo(key: string, covers: (entry: MapValue) => boolean): void {
    const oldest = this.#unconfirmed.get(key);
    if (!oldest || !covers(oldest.value)) return;
    this.#unconfirmed.delete(key);
    const own = this.#replica.get(key);
    const { asked } = oldest;
    const { revision } = asked && covers(asked.value) ? asked : oldest;
    if (own && !covers(own)) this.#mayLack(key, revision + 1);
  }

  #isCheaperToRequest(keys: string[]): boolean {
    if (this.#rounds === 0 || keys.length > this.#chunkKeys) return false;
    const bytes = keys.reduce((sum, key) => sum + sizeOf(key, this.#replica.get(key)), 0);
    return bytes <= DIGEST_BYTES * this.#replica.size;
  }

  #endRound(round: IncomingRound): void {
    this.#round = undefined;
    this.#rounds++;
    this.#comparedMs = this.#replica.environment.monotonicMs();
    this.#hasWholeRound ||= round.isWhole;
    for (const key of this.#unconfirmed.keys()) if (!this.#replica.get(key)) this.#unconfirmed.delete(key);
    this.#updateCaughtUp();
    this.#outbox.roundReceived();
  }

  #updateCaughtUp(): void {
    if (this.#hasWholeRound && this.#outbox.hasAllRequested) this.#caughtUp = true;
  }
}
