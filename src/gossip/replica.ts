import { create } from "@bufbuild/protobuf";
import { type Digest, type MapValue, MapValueSchema } from "../../gen/atomix/map/map_pb.js";
import { utf8Length } from "../lib/utf8.js";
import { clockOf, HybridClock, wallMsOf } from "./clock.js";
import { type Environment, processEnvironment } from "./environment.js";
import { KeyOrder } from "./key-order.js";
import { compareValues, isTombstone } from "./version.js";

export interface ReplicaOptions {
  /** How long the tombstone of a removed key is kept at least, in milliseconds. */
  tombstoneMs: number;
  /** Default: the time and randomness of this process. */
  environment?: Environment;
}

/** An entry that was stored, and the one that it replaced. */
export type Stored = {
  key: string;
  before: MapValue | undefined;
  after: MapValue;
  /** The replica's `revision` after it was stored. */
  revision: number;
};

/** Earlier timestamps do not come from a wall clock. */
const YEAR_2000_MS = 946_684_800_000;

/**
 * One member's full copy of a map: the newest entry of each key that it has received, with tombstones for removed keys.
 * Duplicates and the order of arrival make no difference, so copies that have received the same entries are equal.
 * Entries are stored as they came, with unknown fields.
 */
export class Replica {
  readonly clock: HybridClock;
  /** Also that of everything that works on this replica. */
  readonly environment: Environment;
  readonly #entries = new Map<string, { value: MapValue; revision: number }>();
  /** When each tombstone was stored, oldest first. */
  readonly #tombstones = new Map<string, number>();
  readonly #order = new KeyOrder();
  readonly #tombstoneMs: number;
  #revision = 0;
  #bytes = 0;

  /** `member` is the id of this member, which must be unique. */
  constructor(member: string, { tombstoneMs, environment = processEnvironment }: ReplicaOptions) {
    this.clock = new HybridClock(member, environment);
    this.environment = environment;
    this.#tombstoneMs = tombstoneMs;
  }

  /** The number of stored entries so far. An entry with a higher revision was stored later. */
  get revision(): number {
    return this.#revision;
  }

  /** The number of keys, including removed ones. */
  get size(): number {
    return this.#entries.size;
  }

  /** The number of removed keys. */
  get tombstones(): number {
    return this.#tombstones.size;
  }

  /** The number of bytes of all keys and values. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The entry at `key`, which may be a tombstone. */
  get(key: string): MapValue | undefined {
    return this.#entries.get(key)?.value;
  }

  /** The revision of the entry at `key`; 0 if there is none. */
  revisionOf(key: string): number {
    return this.#entries.get(key)?.revision ?? 0;
  }

  /** At most `limit` keys after `after` up to `last`, including removed ones, in byte order. */
  keys(after?: string, last?: string, limit?: number): readonly string[] {
    return this.#order.between(after, last, limit);
  }

  /** Writes `value` as this member. */
  set(key: string, value: Uint8Array): Stored {
    return this.#store(key, newEntry(this.clock.tick(), value));
  }

  /** Removes `keys` as this member, all with the same timestamp. Missing keys are ignored. */
  delete(keys: Iterable<string>): Stored[] {
    let timestamp: Uint8Array | undefined;
    const removed: Stored[] = [];
    for (const key of keys) {
      const present = this.get(key);
      if (!present || isTombstone(present)) continue;
      timestamp ??= this.clock.tick();
      removed.push(this.#store(key, newEntry(timestamp)));
    }
    return removed;
  }

  /** Whether apply() would store `value`: whether it is newer. One with a malformed timestamp never is. */
  takes(key: string, value: MapValue): boolean {
    if (value.digest && clockOf(value.digest.timestamp) === undefined) return false;
    const present = this.get(key);
    return !present || compareValues(value, present) > 0;
  }

  /** Stores another member's entry if it is newer than the one here. */
  apply(key: string, value: MapValue): Stored | undefined {
    if (!this.takes(key, value)) return undefined;
    if (value.digest) this.clock.observe(value.digest.timestamp);
    return this.#store(key, value);
  }

  /**
   * Whether a tombstone is so old that members may have forgotten it. It is not sent to members that do not have the
   * key: they would send it to each other for ever.
   */
  isOutdated({ tombstone, timestamp }: Digest): boolean {
    const writtenMs = wallMsOf(timestamp);
    return tombstone && writtenMs >= YEAR_2000_MS && writtenMs < this.environment.nowMs() - this.#tombstoneMs;
  }

  /**
   * The keys of the tombstones that are old enough to be forgotten, if `isShared` says that the others have them too.
   */
  forgettable(isShared: (key: string) => boolean): string[] {
    const keys: string[] = [];
    const untilMs = this.environment.nowMs() - this.#tombstoneMs;
    for (const [key, storedMs] of this.#tombstones) {
      if (storedMs > untilMs) break;
      if (isShared(key)) keys.push(key);
    }
    return keys;
  }

  /** Forgets the tombstones at `keys`. A key that has a value again is kept. */
  forget(keys: Iterable<string>): void {
    const forgotten = new Set<string>();
    for (const key of keys) {
      if (!this.#tombstones.delete(key)) continue;
      this.#bytes -= sizeOf(key, this.get(key));
      this.#entries.delete(key);
      forgotten.add(key);
    }
    if (forgotten.size > 0) this.#order.delete(forgotten);
  }

  #store(key: string, value: MapValue): Stored {
    const before = this.get(key);
    const revision = ++this.#revision;
    if (!before) this.#order.add(key);
    this.#bytes += sizeOf(key, value) - sizeOf(key, before);
    this.#entries.set(key, { value, revision });
    this.#tombstones.delete(key);
    if (isTombstone(value)) this.#tombstones.set(key, this.environment.nowMs());
    return { key, before, after: value, revision };
  }
}

/** The size of an entry in bytes: its key and its value. */
export const sizeOf = (key: string, value: MapValue | undefined): number =>
  value ? utf8Length(key) + value.value.length : 0;

const newEntry = (timestamp: Uint8Array, value?: Uint8Array): MapValue =>
  create(MapValueSchema, {
    digest: { timestamp, tombstone: value === undefined },
    ...(value && { value }),
  });
