import type { KeyStore } from "../../engine.js";
import { exhausted, unavailable } from "../../errors.js";

export interface PopulationOptions {
  keys: KeyStore;
  /** What all its members' keys begin with. */
  prefix: string;
  /** The limit on their number, and what one more would be. */
  limit: { name: string; most: number; what: string };
  /** Once it aborts, nobody is counted any more. */
  closing: AbortSignal;
}

/**
 * The keys under a prefix, counted, so that what clients create by naming it stays within a limit: those of other
 * servers on the same engine, and what expires, included. It begins with the first admission.
 */
export class Population {
  readonly #options: PopulationOptions;
  #members: Promise<Set<string>> | undefined;

  constructor(options: PopulationOptions) {
    this.#options = options;
  }

  /** Does `create`, which makes `key` where it is not there. Fails with `resource_exhausted` where it would be too many. */
  async admit<T>(key: string, create: () => Promise<T>): Promise<T> {
    const members = await (this.#members ??= this.#count());
    if (members.has(key)) return create();
    const { name, most, what } = this.#options.limit;
    if (members.size >= most) throw exhausted(name, most, what);
    // Counted at once, or many at the same time would pass the limit together.
    members.add(key);
    try {
      return await create();
    } catch (error) {
      members.delete(key);
      throw error;
    }
  }

  /** Whether one more would be too many. */
  async isFull(): Promise<boolean> {
    return (await (this.#members ??= this.#count())).size >= this.#options.limit.most;
  }

  /** Takes out a key that was deleted, before the engine tells of it. */
  async forget(key: string): Promise<void> {
    (await this.#members)?.delete(key);
  }

  async #count(): Promise<Set<string>> {
    const { keys, prefix, closing } = this.#options;
    const over = new AbortController();
    try {
      const members = new Set<string>();
      // Watching first, so that nothing falls between the two.
      const changes = keys.watch(prefix, AbortSignal.any([closing, over.signal]));
      for await (const { key } of keys.list(prefix)) members.add(key);
      const follow = async () => {
        for await (const change of changes) {
          if (change.type === "set") members.add(change.entry.key);
          else members.delete(change.key);
        }
        throw unavailable("the engine ended the watch");
      };
      // Whoever comes next counts anew.
      follow().catch(() => {
        this.#members = undefined;
      });
      return members;
    } catch (error) {
      over.abort();
      this.#members = undefined;
      throw error;
    }
  }
}
