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

  constructor(options: KeyQuotaOptions) {
    this.#options = options;
  }

  /** Calls `create`, which creates `key` if it is missing. Fails as `resource_exhausted` if the limit is reached. */
  async admit<T>(key: string, create: () => Promise<T>): Promise<T> {
    const counted = await (this.#counted ??= this.#count());
    if (counted.has(key)) return create();
    const { name, most, why } = this.#options.limit;
    if (counted.size >= most) throw exhausted(name, most, why);
    // Counted before it is created, so that concurrent calls cannot exceed the limit together.
    counted.add(key);
    try {
      return await create();
    } catch (error) {
      counted.delete(key);
      throw error;
    }
  }

  /** Whether the limit is reached. */
  async isFull(): Promise<boolean> {
    return (await (this.#counted ??= this.#count())).size >= this.#options.limit.most;
  }

  /** Removes a deleted key from the count, before the engine reports the deletion. */
  async forget(key: string): Promise<void> {
    (await this.#counted)?.delete(key);
  }

  async #count(): Promise<Set<string>> {
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
