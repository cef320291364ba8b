/** When a token is good, in Unix milliseconds. */
export interface Validity {
  readonly fromMs: number;
  readonly expiresAtMs: number;
}

/** How many tokens are remembered: above that, the one that was not used for the longest time is forgotten. */
const MOST = 10_000;

/**
 * What was found out about tokens whose signature is good, by their digest, so that it is checked once and not with
 * each call. Nothing outlives the keys that a token was checked with, nor the token itself.
 */
export class Verified<T extends Validity> {
  readonly #found = new Map<string, T>();
  #keys: object | undefined;

  /** What `set` was told of the token, while it is good and `keys` are the same; undefined: it has to be checked. */
  get(digest: string, keys: object | undefined): T | undefined {
    if (!this.#holds(keys)) return undefined;
    const found = this.#found.get(digest);
    if (!found) return undefined;
    this.#found.delete(digest);
    const nowMs = Date.now();
    if (nowMs < found.fromMs || nowMs >= found.expiresAtMs) return undefined;
    // Behind all others: the first one is the one that is forgotten.
    this.#found.set(digest, found);
    return found;
  }

  /** Remembers a token that was checked while `keys` were those in force; undefined: it is not known which they were. */
  set(digest: string, keys: object | undefined, found: T): void {
    if (!this.#holds(keys)) return;
    this.#found.set(digest, found);
    const [oldest] = this.#found.keys();
    if (this.#found.size > MOST && oldest !== undefined) this.#found.delete(oldest);
  }

  /** Whether there may be anything about these keys here; what is about others is forgotten. */
  #holds(keys: object | undefined): boolean {
    if (keys !== this.#keys) this.#found.clear();
    this.#keys = keys;
    return keys !== undefined;
  }
}
