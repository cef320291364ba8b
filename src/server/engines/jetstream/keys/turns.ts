/** How a commit that waited for its turn goes on: it writes, or reads first, as its condition is probably false. */
export type Turn = "write" | "read";

/** The version that a key is known to have now; undefined if that is not known. */
type KnownVersion = (key: string) => bigint | undefined;

interface Waiter {
  ifVersion: bigint | undefined;
  resolve: (turn: Turn) => void;
}

/**
 * The turns of this server's commits to the same key: one after the other, as JetStream refuses a condition while
 * another write to the subject is in process. Commits whose condition has become false do not wait for a turn of their
 * own: they all read at once.
 */
export class Turns {
  /** The commits that wait, by key. A key without an entry has no commit under way. */
  readonly #waiting = new Map<string, Waiter[]>();

  /**
   * Waits until no other commit is under way for any of `keys`. For "write", end() must be called afterwards; for "read"
   * the commit has no turn.
   */
  async take(keys: readonly string[], ifVersion: (key: string) => bigint | undefined): Promise<Turn> {
    // Always in the same order, so that no two wait for each other.
    const sorted = keys.length > 1 ? [...keys].sort() : keys;
    for (const [i, key] of sorted.entries()) {
      if ((await this.#takeOne(key, ifVersion(key))) === "write") continue;
      this.end(sorted.slice(0, i), () => undefined);
      return "read";
    }
    return "write";
  }

  /** Ends a turn. Waiting commits with a condition other than the version that is known now will read. */
  end(keys: readonly string[], known: KnownVersion): void {
    for (const key of keys) {
      const version = known(key);
      const waiting = this.#waiting.get(key) ?? [];
      const staying: Waiter[] = [];
      for (const waiter of waiting) {
        const isFalse =
          version !== undefined && waiter.ifVersion !== undefined && waiter.ifVersion !== version;
        if (isFalse) waiter.resolve("read");
        else staying.push(waiter);
      }
      const next = staying.shift();
      if (next) {
        this.#waiting.set(key, staying);
        next.resolve("write");
      } else {
        this.#waiting.delete(key);
      }
    }
  }

  #takeOne(key: string, ifVersion: bigint | undefined): Turn | Promise<Turn> {
    const waiting = this.#waiting.get(key);
    if (!waiting) {
      this.#waiting.set(key, []);
      return "write";
    }
    return new Promise((resolve) => waiting.push({ ifVersion, resolve }));
  }
}
