import { create } from "@bufbuild/protobuf";
import { type Digest, type MapValue, MapValueSchema } from "../../gen/atomix/map/map_pb.js";
import { utf8Length } from "../lib/utf8.js";
import { clockOf, HybridClock, wallMsOf } from "./clock.js";
import { KeyOrder } from "./key-order.js";
import { compareValues, isTombstone } from "./version.js";

export interface ReplicaOptions {
  /** How long a removed key is remembered at least, in milliseconds. */
  tombstoneMs: number;
  /** The wall clock, in Unix milliseconds. Default: `Date.now`. */
  now?: () => number;
}

/** One entry that took the place of another, or of nothing. */
export type Stored = {
  key: string;
  before: MapValue | undefined;
  after: MapValue;
  /** What the replica's `revision` became by it. */
  revision: number;
};

/** Timestamps below this come from a clock that has nothing to do with the wall clock. */
const YEAR_2000_MS = 946_684_800_000;

/**
 * One member's whole copy of a map: for each key the newest entry that it has seen, removed keys as tombstones. What
 * arrives twice or out of order makes no difference, so copies that have seen the same entries are alike. Entries are
 * kept as they came, with fields that are not known here.
 */
export class Replica {
  readonly clock: HybridClock;
  readonly #entries = new Map<string, { value: MapValue; revision: number }>();
  /** When each tombstone was stored, the oldest first. */
  readonly #tombstones = new Map<string, number>();
  readonly #order = new KeyOrder();
  readonly #tombstoneMs: number;
  readonly #now: () => number;
  #revision = 0;
  #bytes = 0;

  /** `member` must be the id of this member alone. */
  constructor(member: string, { tombstoneMs, now = Date.now }: ReplicaOptions) {
    this.clock = new HybridClock(member, now);
    this.#tombstoneMs = tombstoneMs;
    this.#now = now;
  }

  /** Counts what was stored: an entry with a higher revision was stored here later. */
  get revision(): number {
    return this.#revision;
  }

  /** The keys that it holds, removed ones included. */
  get size(): number {
    return this.#entries.size;
  }

  /** The removed keys among them. */
  get tombstones(): number {
    return this.#tombstones.size;
  }

  /** The bytes of all keys and values. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The entry at `key`, a tombstone too. */
  get(key: string): MapValue | undefined {
    return this.#entries.get(key)?.value;
  }

  /** The revision that the entry at `key` came with; 0 where there is none. */
  revisionOf(key: string): number {
    return this.#entries.get(key)?.revision ?? 0;
  }

  /** The keys after `after` up to `last`, removed ones included, in byte order. */
  keys(after?: string, last?: string, most?: number): readonly string[] {
    return this.#order.between(after, last, most);
  }

  /** Writes `value` as this member. */
  set(key: string, value: Uint8Array): Stored {
    return this.#store(key, entry(this.clock.tick(), value));
  }

  /** Removes `keys` as this member, all at the same moment; those that are not there stay so. */
  delete(keys: Iterable<string>): Stored[] {
    let timestamp: Uint8Array | undefined;
    const removed: Stored[] = [];
    for (const key of keys) {
      const present = this.get(key);
      if (!present || isTombstone(present)) continue;
      timestamp ??= this.clock.tick();
      removed.push(this.#store(key, entry(timestamp)));
    }
    return removed;
  }

  /** Whether `value` would take the place of what is at `key`. One with a malformed timestamp never does. */
  takes(key: string, value: MapValue): boolean {
    if (value.digest && clockOf(value.digest.timestamp) === undefined) return false;
    const present = this.get(key);
    return !present || compareValues(value, present) > 0;
  }

  /** Stores another member's entry where it is newer than the one here. */
  apply(key: string, value: MapValue): Stored | undefined {
    if (!this.takes(key, value)) return undefined;
    if (value.digest) this.clock.observe(value.digest.timestamp);
    return this.#store(key, value);
  }

  /**
   * Whether a tombstone is so old that members may have forgotten it: there is no use in telling one of it that does
   * not have the key, they would only remind each other for ever.
   */
  isOutdated({ tombstone, timestamp }: Digest): boolean {
    const writtenMs = wallMsOf(timestamp);
    return tombstone && writtenMs >= YEAR_2000_MS && writtenMs < this.#now() - this.#tombstoneMs;
  }

  /** The tombstones that are old enough to be forgotten, of those that `others` have too. */
  forgettable(others: (key: string) => boolean): string[] {
    const keys: string[] = [];
    const since = this.#now() - this.#tombstoneMs;
    for (const [key, storedMs] of this.#tombstones) {
      if (storedMs > since) break;
      if (others(key)) keys.push(key);
    }
    return keys;
  }

  /** Forgets the tombstones at `keys`; what has a value by now stays. */
  forget(keys: Iterable<string>): void {
    const gone = new Set<string>();
    for (const key of keys) {
      if (!this.#tombstones.delete(key)) continue;
      this.#bytes -= sizeOf(key, this.get(key));
      this.#entries.delete(key);
      gone.add(key);
    }
    if (gone.size > 0) this.#order.delete(gone);
  }

  #store(key: string, value: MapValue): Stored {
    const before = this.get(key);
    const revision = ++this.#revision;
    if (!before) this.#order.add(key);
    this.#bytes += sizeOf(key, value) - sizeOf(key, before);
    this.#entries.set(key, { value, revision });
    this.#tombstones.delete(key);
    if (isTombstone(value)) this.#tombstones.set(key, this.#now());
    return { key, before, after: value, revision };
  }
}

/** The bytes that an entry is counted with. */
export const sizeOf = (key: string, value: MapValue | undefined): number =>
  value ? utf8Length(key) + value.value.length : 0;

const entry = (timestamp: Uint8Array, value?: Uint8Array): MapValue =>
  create(MapValueSchema, {
    digest: { timestamp, tombstone: value === undefined },
    ...(value && { value }),
  });
