import { create } from "@bufbuild/protobuf";
import { type Digest, type MapValue, MapValueSchema } from "../../gen/atomix/map/map_pb.js";
import { utf8, utf8Length } from "../lib/utf8.js";
import { clockOf, compareBytes, compareTimestamps, HybridClock, wallMsOf, YEAR_2000_MS } from "./clock.js";
import { type Environment, processEnvironment } from "./environment.js";
import { ExpiryQueue } from "./expiry-queue.js";
import { type CountedHash, Fingerprints, notCounted } from "./fingerprints.js";
import { KeyOrder } from "./key-order.js";
import { endMsOf, isEphemeralTime, type Lifetime, lifetimeOf, withLifetime } from "./lifetime.js";
import { memberOf } from "./timestamp-suffix.js";
import { compareValues, isTombstone } from "./version.js";

export interface ReplicaOptions {
  /** How long the tombstone of a removed key is kept at least, in milliseconds. */
  tombstoneMs: number;
  /**
   * How far the timestamps of other members may be ahead of the clock, in milliseconds: further ones are not stored.
   * Default: Infinity.
   */
  maxAheadMs?: number;
  /** Default: the time and randomness of this process. */
  environment?: Environment;
  /**
   * Called when the lifetime of an entry has ended, at the first read after that or by a timer. Default: no function,
   * and no timer.
   */
  onEnded?: (ended: Stored) => void;
}

/** An entry that was stored, or that has ended, with what readers of the map see at its key. */
export type Stored = {
  key: string;
  /** The entry with the value that readers saw before; undefined if they saw none. */
  before: MapValue | undefined;
  /** The entry as it is stored, which may be a tombstone. */
  after: MapValue;
  /** `after` if readers see its value; undefined if it is a tombstone, or its lifetime has ended. */
  live: MapValue | undefined;
  /** The replica's `revision` after it was stored. */
  revision: number;
};

/**
 * One member's full copy of a map: the newest entry of each key that it has received, with tombstones for removed keys.
 * An entry whose lifetime has ended is absent from then on, and kept as a tombstone is: no message tells of it.
 * Duplicates and the order of arrival make no difference, so copies that have received the same entries are equal.
 * Entries are stored as they came, with unknown fields.
 */
export class Replica {
  readonly clock: HybridClock;
  /** Also that of everything that works on this replica. */
  readonly environment: Environment;
  readonly #entries = new Map<string, { value: MapValue; revision: number } & CountedHash>();
  /** The hashes of all entries. */
  readonly fingerprints = new Fingerprints(this.#entries);
  /** When each tombstone was stored, or each lifetime was seen to have ended, oldest first. */
  readonly #tombstones = new Map<string, number>();
  readonly #order = new KeyOrder();
  readonly #tombstoneMs: number;
  /** The entries whose lifetimes have not ended. */
  readonly #expiries = new ExpiryQueue();
  readonly #onEnded: ((ended: Stored) => void) | undefined;
  /** The timer for the next end of a lifetime, and when it fires. */
  #timer: { atMs: number; stop: () => void } | undefined;
  #revision = 0;
  #bytes = 0;
  #refused = 0;

  /** `member` is the id of this member, which must be unique. */
  constructor(member: string, options: ReplicaOptions) {
    const { tombstoneMs, maxAheadMs, environment = processEnvironment, onEnded } = options;
    this.clock = new HybridClock(member, environment, maxAheadMs);
    this.environment = environment;
    this.#tombstoneMs = tombstoneMs;
    this.#onEnded = onEnded;
  }

  /** The number of stored entries so far. An entry with a higher revision was stored later. */
  get revision(): number {
    return this.#revision;
  }

  /** The number of keys, including removed ones. */
  get size(): number {
    return this.#entries.size;
  }

  /** The number of keys that have a value now. */
  get liveSize(): number {
    this.endLifetimes();
    return this.#entries.size - this.#tombstones.size;
  }

  /** The number of removed keys, with those whose lifetimes have ended. */
  get tombstones(): number {
    this.endLifetimes();
    return this.#tombstones.size;
  }

  /** The number of keys whose lifetimes will end. */
  get expiring(): number {
    this.endLifetimes();
    return this.#expiries.size;
  }

  /** The number of bytes of all keys and values. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How often apply() was called with an entry that is too far ahead of the clock. */
  get refused(): number {
    return this.#refused;
  }

  /** The entry at `key`, which may be a tombstone, or one whose lifetime has ended. */
  get(key: string): MapValue | undefined {
    return this.#entries.get(key)?.value;
  }

  /** The entry at `key` if it has a value now. */
  live(key: string): MapValue | undefined {
    this.endLifetimes();
    return this.#tombstones.has(key) ? undefined : this.get(key);
  }

  /** The revision of the entry at `key`; 0 if there is none. */
  revisionOf(key: string): number {
    return this.#entries.get(key)?.revision ?? 0;
  }

  /** At most `limit` keys after `after` up to `last`, including removed ones, in byte order. */
  keys(after?: string, last?: string, limit?: number): readonly string[] {
    return this.#order.between(after, last, limit);
  }

  /** As keys(), those in the buckets for which `isIn` has a 1. */
  *keysIn(isIn: Uint8Array, after?: string, last?: string): Generator<string, void, undefined> {
    for (const key of this.#order.between(after, last)) {
      if (isIn[this.fingerprints.bucketOf(key)]) yield key;
    }
  }

  /** Writes `value` as this member. Without a lifetime, it stays until it is replaced. */
  set(key: string, value: Uint8Array, lifetime?: Lifetime): Stored {
    const timestamp = this.clock.tick();
    return this.#store(key, newEntry(lifetime ? withLifetime(timestamp, lifetime) : timestamp, value));
  }

  /** Removes `keys` as this member, all with the same timestamp. Missing keys are ignored. */
  delete(keys: Iterable<string>): Stored[] {
    let timestamp: Uint8Array | undefined;
    const removed: Stored[] = [];
    for (const key of keys) {
      if (!this.live(key)) continue;
      timestamp ??= this.clock.tick();
      removed.push(this.#store(key, newEntry(timestamp)));
    }
    return removed;
  }

  /**
   * Whether apply() would store `value`: whether it is newer. One with a malformed timestamp never is, nor is one that is
   * too far ahead of the clock.
   */
  takes(key: string, value: MapValue): boolean {
    return !(value.digest && this.clock.isTooFarAhead(value.digest.timestamp)) && this.#isNewer(key, value);
  }

  /** Stores another member's entry if it is newer than the one here. */
  apply(key: string, value: MapValue): Stored | undefined {
    if (!this.takes(key, value)) {
      if (value.digest && this.clock.isTooFarAhead(value.digest.timestamp)) this.#refused++;
      return undefined;
    }
    if (value.digest) this.clock.observe(value.digest.timestamp);
    return this.#store(key, value);
  }

  /**
   * Stores an entry that this device has stored before, if it is newer than the one here. It may be any time ahead: the
   * clock may have been corrected when it was written, and not yet now.
   */
  restore(key: string, value: MapValue): Stored | undefined {
    if (!this.#isNewer(key, value)) return undefined;
    if (value.digest) this.clock.observe(value.digest.timestamp, Number.POSITIVE_INFINITY);
    return this.#store(key, value);
  }

  /**
   * Writes the entries at `keys` once more, as this member and with the clock as it is now, even if they become older by
   * that. Nobody else may have seen them.
   */
  restamp(keys: Iterable<string>): Stored[] {
    const timestampOf = (key: string) => this.get(key)?.digest?.timestamp ?? NONE;
    const inOrder = [...keys]
      .filter((key) => this.#entries.has(key))
      .sort((a, b) => compareTimestamps(timestampOf(a), timestampOf(b)));
    return inOrder.map((key) => {
      const { digest, value } = this.get(key) as MapValue;
      const lifetime = lifetimeOf(timestampOf(key));
      const timestamp = this.clock.tick();
      const next = typeof lifetime === "object" ? withLifetime(timestamp, lifetime) : timestamp;
      return this.#store(key, newEntry(next, digest?.tombstone ? undefined : value));
    });
  }

  /**
   * Whether a tombstone is so old that members may have forgotten it, or an entry that has ended. It is not sent to
   * members that do not have the key: they would send it to each other for ever.
   */
  isOutdated({ tombstone, timestamp }: Digest): boolean {
    const writtenMs = wallMsOf(timestamp);
    const removedMs = tombstone ? writtenMs : endMsOf(timestamp);
    return writtenMs >= YEAR_2000_MS && removedMs < this.clock.wallMs - this.#tombstoneMs;
  }

  /**
   * Makes the entries absent whose lifetimes have ended by now, and reports them. Every read does this first, so that
   * what is read does not depend on a timer.
   */
  endLifetimes(): void {
    if (this.#expiries.size === 0) return;
    const nowMs = this.clock.wallMs;
    for (let key = this.#expiries.takeDue(nowMs); key !== undefined; key = this.#expiries.takeDue(nowMs)) {
      const { value, revision } = this.#entries.get(key) as { value: MapValue; revision: number };
      this.#tombstones.set(key, nowMs);
      this.#onEnded?.({ key, before: value, after: value, live: undefined, revision });
    }
    this.#awaitNextEnd();
  }

  /** Stops the timer. From then on, the ends of lifetimes are reported only when the replica is read. */
  stop(): void {
    this.#timer?.stop();
    this.#timer = { atMs: Number.NEGATIVE_INFINITY, stop: () => {} };
  }

  /**
   * The keys of the tombstones that are old enough to be forgotten, if `isShared` says that the others have them too.
   */
  forgettable(isShared: (key: string) => boolean): string[] {
    this.endLifetimes();
    const keys: string[] = [];
    const untilMs = this.clock.wallMs - this.#tombstoneMs;
    for (const [key, storedMs] of this.#tombstones) {
      if (storedMs > untilMs) break;
      if (isShared(key)) keys.push(key);
    }
    return keys;
  }

  /** Forgets the tombstones at `keys`. A key that has a value again is kept. */
  forget(keys: Iterable<string>): void {
    this.#remove([...keys].filter((key) => this.#tombstones.has(key)));
  }

  /**
   * Removes the ephemeral entries of a member that has left. The tombstones have the timestamps of the entries: whatever
   * the member has written since is later.
   */
  removeEphemeral(member: string): Stored[] {
    const id = utf8(member);
    const removed: Stored[] = [];
    for (const key of this.keys()) {
      const timestamp = this.live(key)?.digest?.timestamp;
      if (!timestamp || !isEphemeralTime(timestamp) || compareBytes(memberOf(timestamp), id) !== 0) continue;
      removed.push(this.#store(key, newEntry(timestamp)));
    }
    return removed;
  }

  /** Removes the entries at `keys`, without tombstones, as if they had never come. Returns those that readers saw. */
  drop(keys: Iterable<string>): Stored[] {
    const dropped: Stored[] = [];
    const present = [...keys].filter((key) => this.#entries.has(key));
    for (const key of present) {
      const before = this.live(key);
      const { value, revision } = this.#entries.get(key) as { value: MapValue; revision: number };
      if (before) dropped.push({ key, before, after: value, live: undefined, revision });
    }
    this.#remove(present);
    return dropped;
  }

  #remove(keys: readonly string[]): void {
    for (const key of keys) {
      this.#bytes -= sizeOf(key, this.get(key));
      const entry = this.#entries.get(key);
      this.#entries.delete(key);
      this.#tombstones.delete(key);
      this.#expiries.delete(key);
      if (entry) this.fingerprints.removed(entry);
    }
    if (keys.length > 0) this.#order.delete(new Set(keys));
  }

  #isNewer(key: string, value: MapValue): boolean {
    if (value.digest && !isWellFormed(value.digest.timestamp)) return false;
    const present = this.get(key);
    return !present || compareValues(value, present) > 0;
  }

  #store(key: string, value: MapValue): Stored {
    const before = this.live(key);
    const entry = this.#entries.get(key);
    const revision = ++this.#revision;
    this.#bytes += sizeOf(key, value) - sizeOf(key, entry?.value);
    if (entry) {
      entry.value = value;
      entry.revision = revision;
      this.fingerprints.changed(key, entry);
    } else {
      const added = { value, revision, ...notCounted() };
      this.#entries.set(key, added);
      this.#order.add(key);
      this.fingerprints.changed(key, added);
    }
    const isLive = this.#settle(key, value);
    return { key, before, after: value, live: isLive ? value : undefined, revision };
  }

  /** Notes until when the entry that was stored at `key` is live. Returns whether it is. */
  #settle(key: string, value: MapValue): boolean {
    const nowMs = this.clock.wallMs;
    const endMs = value.digest ? endMsOf(value.digest.timestamp) : Number.POSITIVE_INFINITY;
    const isLive = !isTombstone(value) && endMs > nowMs;
    this.#tombstones.delete(key);
    if (!isLive) this.#tombstones.set(key, nowMs);
    if (!isLive || endMs === Number.POSITIVE_INFINITY) {
      this.#expiries.delete(key);
    } else {
      this.#expiries.set(key, endMs);
      this.#awaitNextEnd();
    }
    return isLive;
  }

  /** Sets the timer for the next end of a lifetime, if somebody wants to know of it. */
  #awaitNextEnd(): void {
    const atMs = this.#expiries.nextMs;
    if (!this.#onEnded || atMs >= (this.#timer?.atMs ?? Number.POSITIVE_INFINITY)) return;
    this.#timer?.stop();
    const stop = this.environment.after(atMs - this.clock.wallMs, () => {
      this.#timer = undefined;
      this.endLifetimes();
      // If the wall clock was set back, nothing has ended yet.
      this.#awaitNextEnd();
    });
    this.#timer = { atMs, stop };
  }
}

const NONE = new Uint8Array();

/** The size of an entry in bytes: its key and its value. */
export const sizeOf = (key: string, value: MapValue | undefined): number =>
  value ? utf8Length(key) + value.value.length : 0;

const newEntry = (timestamp: Uint8Array, value?: Uint8Array): MapValue =>
  create(MapValueSchema, {
    digest: { timestamp, tombstone: value === undefined },
    ...(value && { value }),
  });

const isWellFormed = (timestamp: Uint8Array): boolean =>
  clockOf(timestamp) !== undefined && lifetimeOf(timestamp) !== "malformed";
