/** When a token is valid, in Unix milliseconds. */
export interface Validity {
  readonly fromMs: number;
  readonly expiresAtMs: number;
}

/** The most cached tokens; above that, the least recently used one is dropped. */
const MAX_TOKENS = 10_000;

/**
 * Caches verified tokens by their digest, so that each is verified once and not with each call. No entry outlives the
 * keys that its token was verified with, or the token itself.
 */
export class VerifiedTokens<T extends Validity> {
  readonly #entries = new Map<string, T>();
  #keys: object | undefined;

  /** The entry of a token while it is valid and `keys` are the same; undefined: the token has to be verified. */
  get(digest: string, keys: object | undefined): T | undefined {
    if (!this.#hasKeys(keys)) return undefined;
    const entry = this.#entries.get(digest);
    if (!entry) return undefined;
    this.#entries.delete(digest);
    const nowMs = Date.now();
    if (nowMs < entry.fromMs || nowMs >= entry.expiresAtMs) return undefined;
    // Moves it to the end: the first entry is dropped first.
    this.#entries.set(digest, entry);
    return entry;
  }

  /** Caches a token that was verified with `keys`; undefined: the keys are unknown, and nothing is cached. */
  set(digest: string, keys: object | undefined, entry: T): void {
    if (!this.#hasKeys(keys)) return;
    this.#entries.set(digest, entry);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > MAX_TOKENS && oldest !== undefined) this.#entries.delete(oldest);
  }

  /** Whether the entries belong to these keys; drops the entries of other keys. */
  #hasKeys(keys: object | undefined): boolean {
    if (keys !== this.#keys) this.#entries.clear();
    this.#keys = keys;
    return keys !== undefined;
  }
}
