import type { KeyStore } from "../../engine.js";
import type { Address } from "./address.js";
import { decodeEntry, isEntryTombstone, timestampOf } from "./entry.js";
import type { Partition } from "./partition.js";

/** How many deletions are known by key; beyond that they are found by reading the partition through. */
const MOST_KNOWN = 4096;

/** How many are forgotten in one commit. */
const AT_A_TIME = 256;

/**
 * The deletions that a primary remembers for its backups: each is forgotten once every backup has it. What is left
 * from before, the first tidy() finds.
 */
export class Tombstones {
  readonly #address: Address;
  readonly #keys: KeyStore;
  readonly #partition: Pick<Partition, "run">;
  #known = new Map<string, bigint>();
  #unknown = true;
  #tidying = false;

  constructor(address: Address, keys: KeyStore, partition: Pick<Partition, "run">) {
    this.#address = address;
    this.#keys = keys;
    this.#partition = partition;
  }

  add(key: string, timestamp: bigint): void {
    this.#known.delete(key);
    this.#known.set(key, timestamp);
    if (this.#known.size <= MOST_KNOWN) return;
    this.#known.clear();
    this.#unknown = true;
  }

  /** Forgets in the background those up to the timestamp that `everywhere` returns: what every backup has. */
  async tidy(everywhere: () => bigint): Promise<void> {
    if (this.#tidying) return;
    this.#tidying = true;
    try {
      if (this.#unknown && everywhere() >= 0n) {
        this.#unknown = false;
        await this.#search(everywhere);
      }
      for (let due = this.#due(everywhere()); due.length > 0; due = this.#due(everywhere())) {
        await this.#forget(due, everywhere());
        for (const key of due) this.#known.delete(key);
      }
    } catch {
      // The engine is away: what is left is found the next time.
      this.#unknown = true;
    } finally {
      this.#tidying = false;
    }
  }

  /** The oldest of those known that are not needed any more. */
  #due(everywhere: bigint): string[] {
    const due: string[] = [];
    for (const [key, timestamp] of this.#known) {
      if (timestamp > everywhere || due.length === AT_A_TIME) break;
      due.push(key);
    }
    return due;
  }

  async #search(everywhere: () => bigint): Promise<void> {
    let found: string[] = [];
    for await (const { value } of this.#keys.list(this.#address.entriesPrefix)) {
      const entry = decodeEntry(value);
      if (isEntryTombstone(entry)) found.push(entry.key);
      if (found.length < AT_A_TIME) continue;
      await this.#forget(found, everywhere());
      found = [];
    }
    if (found.length > 0) await this.#forget(found, everywhere());
  }

  #forget(keys: string[], everywhere: bigint): Promise<void> {
    return this.#partition.run({
      keys,
      apply(draft) {
        for (const key of keys) {
          const entry = draft.get(key);
          if (isEntryTombstone(entry) && timestampOf(entry) <= everywhere) draft.drop(key);
        }
      },
    });
  }
}
