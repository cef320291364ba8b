import type { KeyStore } from "../../engine.js";
import type { Address } from "./address.js";
import { decodeEntry, isEntryTombstone, timestampOf } from "./entry.js";
import type { Partition } from "./partition.js";

/** The most deletions that are known by key. If there are more, they are found by scanning the partition. */
const MAX_KNOWN = 4096;

/** How many tombstones are removed in one commit. */
const BATCH_KEYS = 256;

/**
 * The tombstones that a primary keeps for its backups. Each is removed when every backup has it. The first collect()
 * finds those of earlier processes.
 */
export class Tombstones {
  readonly #address: Address;
  readonly #keys: KeyStore;
  readonly #partition: Pick<Partition, "run">;
  #known = new Map<string, bigint>();
  #needsScan = true;
  #isCollecting = false;

  constructor(address: Address, keys: KeyStore, partition: Pick<Partition, "run">) {
    this.#address = address;
    this.#keys = keys;
    this.#partition = partition;
  }

  add(key: string, timestamp: bigint): void {
    this.#known.delete(key);
    this.#known.set(key, timestamp);
    if (this.#known.size <= MAX_KNOWN) return;
    this.#known.clear();
    this.#needsScan = true;
  }

  /** Removes the tombstones up to the timestamp that `replicated` returns, which every backup has. */
  async collect(replicated: () => bigint): Promise<void> {
    if (this.#isCollecting) return;
    this.#isCollecting = true;
    try {
      if (this.#needsScan && replicated() >= 0n) {
        this.#needsScan = false;
        await this.#scan(replicated);
      }
      for (let due = this.#due(replicated()); due.length > 0; due = this.#due(replicated())) {
        await this.#remove(due, replicated());
        for (const key of due) this.#known.delete(key);
      }
    } catch {
      // The engine is unavailable. The next call finds the remaining tombstones.
      this.#needsScan = true;
    } finally {
      this.#isCollecting = false;
    }
  }

  /** The oldest known tombstones that every backup has. */
  #due(replicated: bigint): string[] {
    const due: string[] = [];
    for (const [key, timestamp] of this.#known) {
      if (timestamp > replicated || due.length === BATCH_KEYS) break;
      due.push(key);
    }
    return due;
  }

  async #scan(replicated: () => bigint): Promise<void> {
    let tombstones: string[] = [];
    for await (const { value } of this.#keys.list(this.#address.entriesPrefix)) {
      const entry = decodeEntry(value);
      if (isEntryTombstone(entry)) tombstones.push(entry.key);
      if (tombstones.length < BATCH_KEYS) continue;
      await this.#remove(tombstones, replicated());
      tombstones = [];
    }
    if (tombstones.length > 0) await this.#remove(tombstones, replicated());
  }

  #remove(keys: string[], replicated: bigint): Promise<void> {
    return this.#partition.run({
      keys,
      apply(draft) {
        for (const key of keys) {
          const entry = draft.get(key);
          if (isEntryTombstone(entry) && timestampOf(entry) <= replicated) draft.drop(key);
        }
      },
    });
  }
}
