import type { Change, Entry, KeyStore } from "../../engine.js";

/** The keys of one group that one subscription follows, and the versions that were sent to the subscriber. */
export class GroupSubscription {
  #all = false;
  readonly #keys = new Set<string>();
  readonly #sent = new Map<string, bigint>();

  /** Adds keys to follow; all keys, if there are none. Returns how many were new. */
  add(keys: readonly string[]): number {
    const before = this.#keys.size;
    if (keys.length === 0) this.#all = true;
    for (const key of keys) this.#keys.add(key);
    return this.#keys.size - before;
  }

  /** Records that these entries are sent to the subscriber. */
  markSent(entries: readonly Entry[]): void {
    for (const { key, version } of entries) this.#sent.set(key, version);
  }

  /** `change` if the subscriber follows its key and was not sent the same or a newer version; otherwise undefined. */
  async filter(change: Change, store: KeyStore): Promise<Change | undefined> {
    const key = change.type === "set" ? change.entry.key : change.key;
    if (!this.#all && !this.#keys.has(key)) return undefined;
    const sent = this.#sent.get(key);
    if (change.type === "set") {
      if (sent !== undefined && change.entry.version <= sent) return undefined;
      this.#sent.set(key, change.entry.version);
      return change;
    }
    if (sent === undefined) return undefined;
    // A deletion has no version. If the sent version is still there, the deletion came before it.
    if ((await store.get(key))?.version === sent) return undefined;
    this.#sent.delete(key);
    return change;
  }
}
