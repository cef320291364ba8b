import type { KeyStore } from "../../engine.js";
import { exhausted, unavailable } from "../../errors.js";

export interface KeyQuotaOptions {
  keys: KeyStore;
  /** The prefix of the counted keys. */
  prefix: string;
  /** The limit on their number: its name in the configuration, its value, and the message of the error. */
  limit: { name: string; most: number; why: string };
  /** Ends the count when it aborts. */
  closing: AbortSignal;
}

/**
 * Limits the number of keys under a prefix, for objects that clients create by naming them. It follows the writes of
 * other servers on the same engine, and expiries. It begins to count at the first admission.
 */
export class KeyQuota {
  readonly #options: KeyQuotaOptions;
  #counted: Promise<Set<string>> | undefined;
  /** The keys that are being created, and by how many calls. */
  readonly #creating = new Map<string, number>();

  constructor(options: KeyQuotaOptions) {
    this.#options = options;
  }

  /** Calls `create`, which creates `key` if it is missing. Fails as `resource_exhausted` if the limit is reached. */
  async admit<T>(key: string, create: () => Promise<T>): Promise<T> {
    const counted = await this.#count();
    if (counted.has(key)) return create();
    const { name, most, why } = this.#options.limit;
    if (!this.#creating.has(key) && this.#sizeWith(counted) >= most) throw exhausted(name, most, why);
    this.#creating.set(key, (this.#creating.get(key) ?? 0) + 1);
    try {
      const created = await create();
      counted.add(key);
      return created;
    } finally {
      // After an error the key may exist nevertheless: if so, the engine reports it.
      const others = (this.#creating.get(key) ?? 0) - 1;
      if (others > 0) this.#creating.set(key, others);
      else this.#creating.delete(key);
    }
  }

  /** Whether the limit is reached. */
  async isFull(): Promise<boolean> {
    return this.#sizeWith(await this.#count()) >= this.#options.limit.most;
  }

  /** The existing keys, as far as the engine has reported them. */
  existing(): Promise<ReadonlySet<string>> {
    return this.#count();
  }

  /** Removes a deleted key from the count, before the engine reports the deletion. */
  async forget(key: string): Promise<void> {
    (await this.#counted)?.delete(key);
  }

  /** The number of keys with those that are being created: concurrent calls must not exceed the limit together. */
  #sizeWith(counted: ReadonlySet<string>): number {
    let size = counted.size;
    for (const key of this.#creating.keys()) if (!counted.has(key)) size++;
    return size;
  }

  /** The existing keys, which are listed once and followed from then on. */
  #count(): Promise<Set<string>> {
    return (this.#counted ??= this.#list());
  }

  async #list(): Promise<Set<string>> {
    const { keys, prefix, closing } = this.#options;
    const failing = new AbortController();
    try {
      const counted = new Set<string>();
      // Watches before it lists, so that no change in between is missed.
      const changes = keys.watch(prefix, AbortSignal.any([closing, failing.signal]));
      for await (const { key } of keys.list(prefix)) counted.add(key);
      const follow = async () => {
        for await (const change of changes) {
          if (change.type === "set") counted.add(change.entry.key);
          else counted.delete(change.key);
        }
        throw unavailable("the engine ended the watch");
      };
      // The next call counts again.
      follow().catch(() => {
        this.#counted = undefined;
      });
      return counted;
    } catch (error) {
      failing.abort();
      this.#counted = undefined;
      throw error;
    }
  }
}
