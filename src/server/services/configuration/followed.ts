import type { Change, Entry, KeyStore } from "../../engine.js";

/** What one subscription follows of one group, by the engine's keys, and which versions it was told of. */
export class Followed {
  #all = false;
  readonly #keys = new Set<string>();
  readonly #told = new Map<string, bigint>();

  /** Follows these keys as well, or all where there is none. Returns how many more they are. */
  add(keys: readonly string[]): number {
    const before = this.#keys.size;
    if (keys.length === 0) this.#all = true;
    for (const key of keys) this.#keys.add(key);
    return this.#keys.size - before;
  }

  /** Remembers that the subscriber was told of these. */
  told(entries: readonly Entry[]): void {
    for (const { key, version } of entries) this.#told.set(key, version);
  }

  /** `change` if the subscriber is to be told of it, and has not been told the same or newer. */
  async news(change: Change, store: KeyStore): Promise<Change | undefined> {
    const key = change.type === "set" ? change.entry.key : change.key;
    if (!this.#all && !this.#keys.has(key)) return undefined;
    const told = this.#told.get(key);
    if (change.type === "set") {
      if (told !== undefined && change.entry.version <= told) return undefined;
      this.#told.set(key, change.entry.version);
      return change;
    }
    if (told === undefined) return undefined;
    // A deletion has no version: where what was told of is there still, it is from before that.
    if ((await store.get(key))?.version === told) return undefined;
    this.#told.delete(key);
    return change;
  }
}
