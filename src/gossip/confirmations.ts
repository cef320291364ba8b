import type { MapValue } from "../../gen/atomix/map/map_pb.js";
import type { Stored } from "./replica.js";
import type { LinkedReplica } from "./restricted-replica.js";

/** An entry that the peer may lack: the oldest one of its key. Later ones may replace it before it is sent. */
type Unconfirmed = {
  value: MapValue;
  revision: number;
  /** The peer may lack all entries of the key from this revision on. */
  since: number;
  /** The entry of the key when the peer was last asked to confirm it. */
  asked?: { value: MapValue; revision: number };
};

/** Which entries of a replica a peer may lack, as far as it has not shown that it has them. */
export class Confirmations {
  readonly #replica: LinkedReplica;
  /** Complete after the first comparison. */
  readonly #unconfirmed = new Map<string, Unconfirmed>();
  #isComplete = false;

  constructor(replica: LinkedReplica) {
    this.#replica = replica;
  }

  /** The number of keys whose entries the peer may lack. */
  get size(): number {
    return this.#unconfirmed.size;
  }

  /** Whether all entries have been compared once. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** The keys whose entries the peer may lack. */
  keys(): MapIterator<string> {
    return this.#unconfirmed.keys();
  }

  /** Whether the peer has the entry at `key`, or a newer one. */
  has(key: string): boolean {
    return this.#isComplete && !this.#unconfirmed.has(key);
  }

  /** Whether the peer has all entries up to `revision`. */
  hasAll(revision: number): boolean {
    if (!this.#isComplete) return false;
    for (const entry of this.#unconfirmed.values()) if (entry.since <= revision) return false;
    return true;
  }

  /** The entry at `key` is new. */
  changed(key: string): void {
    // Before the first comparison it is unknown how many earlier entries of the key the peer lacks, too.
    this.#mayLack(key, this.#isComplete ? this.#replica.revisionOf(key) : 0);
  }

  /** The peer has an older entry at `key`, or none. */
  lacks(key: string): void {
    this.#mayLack(key, 0);
  }

  /** The peer is asked to confirm the entries that are here now. */
  ask(): void {
    for (const [key, unconfirmed] of this.#unconfirmed) {
      const value = this.#replica.get(key);
      if (value) unconfirmed.asked = { value, revision: this.#replica.revisionOf(key) };
    }
  }

  /** The peer has the entry at `key`, or must not get it. */
  delete(key: Stored["key"]): void {
    this.#unconfirmed.delete(key);
  }

  /** Confirms the entries of `key` for which `covers` returns true. */
  confirmUpTo(key: string, covers: (entry: MapValue) => boolean): void {
    const oldest = this.#unconfirmed.get(key);
    if (!oldest || !covers(oldest.value)) return;
    this.#unconfirmed.delete(key);
    const own = this.#replica.get(key);
    const { asked } = oldest;
    const { revision } = asked && covers(asked.value) ? asked : oldest;
    if (own && !covers(own)) this.#mayLack(key, revision + 1);
  }

  /** The peer has all entries up to `revision` in the buckets for which `isIn` has a 1; undefined: in all. */
  confirmIn(isIn: Uint8Array | undefined, revision: number): void {
    for (const [key, oldest] of this.#unconfirmed) {
      if (oldest.revision > revision || (isIn && !isIn[this.#replica.fingerprints.bucketOf(key)])) continue;
      this.#unconfirmed.delete(key);
      if (this.#replica.revisionOf(key) > revision) this.#mayLack(key, revision + 1);
    }
  }

  /** All entries have been compared. */
  complete(): void {
    this.#isComplete = true;
    for (const key of this.#unconfirmed.keys()) if (!this.#replica.get(key)) this.#unconfirmed.delete(key);
  }

  /** Nothing is known of the peer again. */
  reset(): void {
    this.#unconfirmed.clear();
    this.#isComplete = false;
  }

  #mayLack(key: string, since: number): void {
    const value = this.#replica.get(key);
    if (!value || this.#unconfirmed.has(key)) return;
    this.#unconfirmed.set(key, { value, revision: this.#replica.revisionOf(key), since });
  }
}
