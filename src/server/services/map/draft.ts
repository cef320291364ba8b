import { create } from "@bufbuild/protobuf";
import { type Digest, DigestSchema, type Entry } from "../../../../gen/atomix/pb/map/map_pb.js";
import { fromUtf8, utf8 } from "../../../lib/utf8.js";
import type { Entry as Stored, Write } from "../../engine.js";
import { exhausted } from "../../errors.js";
import { type Address, COUNT_KEY } from "./address.js";
import {
  decodeDigest,
  decodeEntry,
  encodeDigest,
  encodeEntry,
  highest,
  isLive,
  type LiveEntry,
} from "./entry.js";
import type { Leadership } from "./group.js";

const MOST_VERSION = 2n ** 64n - 1n;

/** The engine's entries for one batch of operations. */
export interface PartitionSnapshot {
  record: Stored | undefined;
  /** The number of partitions; not read if this partition is known to exist. */
  count: Stored | undefined;
  entries: ReadonlyMap<string, Stored | undefined>;
  fences: ReadonlyMap<string, Stored | undefined>;
}

/**
 * A partition with the changes of a batch of operations, each of which sees those before it. The writes of the draft
 * are one commit. It requires the version of the record that was read, so it fails if another server on the same engine
 * was faster.
 */
export class Draft {
  readonly #address: Address;
  readonly #mostPartitions: number;
  readonly #snapshot: PartitionSnapshot;
  readonly #entries = new Map<string, Entry | undefined>();
  readonly #writes = new Map<string, Write>();
  readonly #checks = new Map<string, Write>();
  readonly #changes = new Map<string, Entry>();
  #term: bigint;
  #timestamp: bigint;
  #hasChanged = false;

  constructor(address: Address, snapshot: PartitionSnapshot, mostPartitions: number) {
    this.#address = address;
    this.#mostPartitions = mostPartitions;
    this.#snapshot = snapshot;
    const digest = snapshot.record && decodeDigest(snapshot.record.value);
    this.#term = digest?.term ?? 0n;
    this.#timestamp = digest?.timestamp ?? 0n;
  }

  /** The highest term that the partition has seen. */
  get term(): bigint {
    return this.#term;
  }

  /** The timestamp of the partition's latest change. */
  get timestamp(): bigint {
    return this.#timestamp;
  }

  /** The changes to replicate: the last change of each key, in the order of the timestamps. */
  get changes(): Entry[] {
    return [...this.#changes.values()];
  }

  get(key: string): Entry | undefined {
    if (this.#entries.has(key)) return this.#entries.get(key);
    const stored = this.#snapshot.entries.get(key);
    return stored && decodeEntry(stored.value);
  }

  live(key: string): LiveEntry | undefined {
    const entry = this.get(key);
    return isLive(entry) ? entry : undefined;
  }

  /** The digest of the next change. The partition's counter never goes back, and is above the term's floor. */
  nextDigest({ term, floor }: Leadership): Digest {
    const timestamp = highest([this.#timestamp, floor]) + 1n;
    if (timestamp > MOST_VERSION) {
      throw exhausted("version", MOST_VERSION, "the partition's counter is at its end");
    }
    this.raise(term, timestamp);
    return create(DigestSchema, { term, timestamp });
  }

  /** Raises the high-water marks of term and timestamp separately, so that no version is assigned again in any term. */
  raise(term: bigint, timestamp: bigint): void {
    if (term <= this.#term && timestamp <= this.#timestamp) return;
    this.#markChanged();
    this.#term = highest([term, this.#term]);
    this.#timestamp = highest([timestamp, this.#timestamp]);
  }

  set(entry: Entry, ttlMs?: number): void {
    this.#markChanged();
    const key = this.#address.entriesPrefix + entry.key;
    this.#entries.set(entry.key, entry);
    this.#writes.set(key, {
      type: "set",
      key,
      value: encodeEntry(entry),
      ...(ttlMs !== undefined && { ttlMs }),
    });
  }

  /** Removes the entry or its tombstone. */
  drop(name: string): void {
    this.#markChanged();
    const key = this.#address.entriesPrefix + name;
    this.#entries.set(name, undefined);
    this.#writes.set(key, { type: "delete", key });
  }

  /** Adds a change for the backups. */
  replicate(entry: Entry): void {
    // Deleted first, so that it moves to the end: the order stays that of the timestamps.
    this.#changes.delete(entry.key);
    this.#changes.set(entry.key, entry);
  }

  /** The first of `checks` that fails, and the actual entry. */
  failedCheck(checks: readonly Write[]): { check: Write; actual: Stored | undefined } | undefined {
    for (const check of checks) {
      const actual = this.#snapshot.fences.get(check.key);
      if ((actual?.version ?? 0n) !== check.ifVersion) return { check, actual };
    }
    return undefined;
  }

  /** Adds `checks` to the commit. */
  addChecks(checks: readonly Write[]): void {
    for (const check of checks) this.#checks.set(check.key, check);
  }

  /** The writes of the commit; none if nothing has changed. */
  writes(): Write[] {
    if (!this.#hasChanged) return [];
    const { record, count } = this.#snapshot;
    const updatedRecord: Write = {
      type: "set",
      key: this.#address.recordKey,
      value: encodeDigest(this.#term, this.#timestamp),
      ifVersion: record?.version ?? 0n,
    };
    const incrementedCount: Write = {
      type: "set",
      key: COUNT_KEY,
      value: utf8(String(numberIn(count) + 1)),
      ifVersion: count?.version ?? 0n,
    };
    return [
      ...this.#checks.values(),
      updatedRecord,
      ...(record ? [] : [incrementedCount]),
      ...this.#writes.values(),
    ];
  }

  /** Fails if the change would create the partition and there are too many. */
  #markChanged(): void {
    if (!this.#snapshot.record && numberIn(this.#snapshot.count) >= this.#mostPartitions) {
      throw exhausted("mapPartitions", this.#mostPartitions, "no further partition of a map can be created");
    }
    this.#hasChanged = true;
  }
}

const numberIn = (stored: Stored | undefined): number => (stored ? Number(fromUtf8(stored.value)) : 0);
