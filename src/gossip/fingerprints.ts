import type { MapValue } from "../../gen/atomix/map/map_pb.js";
import { HashInput, hashed } from "./murmur.js";
import { BUCKETS, GROUP_BUCKETS, GROUPS } from "./reserved-key.js";
import { isAmbiguous } from "./version.js";

/** The hash of an entry as it was counted last. */
export interface CountedHash {
  /** The bucket of the key; -1 if the entry was never counted. */
  bucket: number;
  high: number;
  low: number;
  /** Whether the entry has changed since it was counted. */
  isDirty: boolean;
}

export const notCounted = (): CountedHash => ({ bucket: -1, high: 0, low: 0, isDirty: false });

/** After so many changes more than there are entries, they are counted, to bound the memory. */
const MOST_DIRTY = 1000;

/**
 * Hashes of a replica's entries, by which two replicas find what differs without listing their keys. Each key belongs
 * to a bucket, and a bucket to a group. The hash of a bucket is the XOR of the hashes of its entries, that of a group
 * the XOR of its buckets, and the root the XOR of all. Changed entries are hashed when a hash is read, once for all
 * changes until then, so that a write costs little.
 */
export class Fingerprints {
  readonly #entries: ReadonlyMap<string, CountedHash & { value: MapValue }>;
  #dirty: string[] = [];
  /** Two words for each group. */
  readonly #groups = new Int32Array(2 * GROUPS);
  /** Two words for each bucket. Undefined until they are read, since small maps do not need them. */
  #buckets: Int32Array | undefined;
  readonly #input = new HashInput();

  constructor(entries: ReadonlyMap<string, CountedHash & { value: MapValue }>) {
    this.#entries = entries;
  }

  /** To be called when the entry at `key` was added or changed. */
  changed(key: string, entry: CountedHash): void {
    if (entry.isDirty) return;
    entry.isDirty = true;
    this.#dirty.push(key);
    if (this.#dirty.length > this.#entries.size + MOST_DIRTY) this.#count();
  }

  /** To be called when the entry was removed from the replica. */
  removed(entry: CountedHash): void {
    if (entry.bucket >= 0) this.#toggle(entry);
    entry.isDirty = false;
  }

  /** The hash of all entries, in two words. */
  root(): Int32Array {
    this.#count();
    const root = new Int32Array(2);
    for (let i = 0; i < this.#groups.length; i++) root[i & 1] = at(root, i & 1) ^ at(this.#groups, i);
    return root;
  }

  /** The hashes of all groups, in two words each. Valid until the next change. */
  groups(): Int32Array {
    this.#count();
    return this.#groups;
  }

  /** The hashes of the buckets of `group`, in two words each. Valid until the next change. */
  bucketsOf(group: number): Int32Array {
    this.#count();
    if (!this.#buckets) {
      this.#buckets = new Int32Array(2 * BUCKETS);
      for (const entry of this.#entries.values()) toggle(this.#buckets, entry.bucket, entry);
    }
    return this.#buckets.subarray(2 * group * GROUP_BUCKETS, 2 * (group + 1) * GROUP_BUCKETS);
  }

  /** The bucket of `key`, whether there is an entry or not. */
  bucketOf(key: string): number {
    const counted = this.#entries.get(key)?.bucket ?? -1;
    if (counted >= 0) return counted;
    this.#input.clear().text(key).hash();
    return at(hashed, 0) >>> BUCKET_SHIFT;
  }

  /** Counts the changed entries. */
  #count(): void {
    if (this.#dirty.length === 0) return;
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const key of dirty) {
      const entry = this.#entries.get(key);
      if (!entry?.isDirty) continue;
      if (entry.bucket >= 0) this.#toggle(entry);
      else entry.bucket = this.bucketOf(key);
      this.#hash(key, entry.value);
      entry.high = at(hashed, 0);
      entry.low = at(hashed, 1);
      entry.isDirty = false;
      this.#toggle(entry);
    }
  }

  /** Hashes the version. The value too if peers may have another one with that version. */
  #hash(key: string, { digest, value }: MapValue): void {
    const input = this.#input.clear();
    const timestamp = digest && digest.timestamp.length > 0 ? digest.timestamp : ZERO_CLOCK;
    input.number(2 * timestamp.length + Number(digest?.tombstone ?? false));
    input.bytes(timestamp).text(key);
    if (!digest || isAmbiguous(digest)) input.bytes(value).number(value.length);
    input.hash();
  }

  /** Adds the hash of an entry, or takes it away. */
  #toggle(entry: CountedHash): void {
    toggle(this.#groups, Math.floor(entry.bucket / GROUP_BUCKETS), entry);
    if (this.#buckets) toggle(this.#buckets, entry.bucket, entry);
  }
}

/** An empty timestamp is the same version as that of clock 0. */
const ZERO_CLOCK = new Uint8Array(8);

/** The bucket is the highest bits of the hash of the key. */
const BUCKET_SHIFT = 32 - Math.log2(BUCKETS);

const at = (words: Int32Array, index: number): number => words[index] as number;

function toggle(words: Int32Array, index: number, { high, low }: CountedHash): void {
  words[2 * index] = at(words, 2 * index) ^ high;
  words[2 * index + 1] = at(words, 2 * index + 1) ^ low;
}
