import type { Entry } from "../../../engine.js";

/**
 * How a commit that waited for its turn goes on. It writes. Or it has no turn, as its condition is false: by the commit
 * before it, whose entry is `actual`, or probably, and then it has to read.
 */
export type Turn = { type: "write" } | { type: "read" } | { type: "conflict"; actual: Entry | undefined };

/** The version of a key after a commit; `isWritten` if the commit has written it, as `entry`. */
export type KnownVersion = { version: bigint } & (
  | { isWritten: false }
  | { isWritten: true; entry: Entry | undefined }
);

interface Waiter {
  ifVersion: bigint | undefined;
  /** Whether it came before the present commit was sent, so that it overlaps the moment at which that is stored. */
  isEarly: boolean;
  resolve: (turn: Turn) => void;
}

/**
 * The turns of this server's commits to the same key: one after the other, as JetStream refuses a condition while
 * another write to the subject is in process. Commits whose condition has become false do not wait for a turn of their
 * own: they end together, so that many writers of one key need one write each.
 */
export class Turns {
  /** The commits that wait, by key. A key without an entry has no commit under way. */
  readonly #waiting = new Map<string, Waiter[]>();

  /**
   * Waits until no other commit is under way for any of `keys`. After a turn to write, end() must be called.
   * `ifVersion` is the condition for a key, for commits of one key.
   */
  async take(keys: readonly string[], ifVersion?: bigint): Promise<Turn> {
    // Always in the same order, so that no two wait for each other.
    const sorted = keys.length > 1 ? [...keys].sort() : keys;
    for (const key of sorted) {
      const turn = await this.#takeOne(key, ifVersion);
      if (turn.type !== "write") return turn;
    }
    return WRITE;
  }

  /** Tells that the commit whose turn it is will be sent now. */
  sent(keys: readonly string[]): void {
    for (const key of keys) for (const waiter of this.#waiting.get(key) ?? []) waiter.isEarly = true;
  }

  /** Ends a turn. Returns whether it has made the conditions of other commits false. */
  end(keys: readonly string[], known: (key: string) => KnownVersion | undefined): boolean {
    let hasConflicts = false;
    for (const key of keys) {
      const present = known(key);
      const staying: Waiter[] = [];
      for (const waiter of this.#waiting.get(key) ?? []) {
        const turn = present && turnOf(waiter, present);
        if (turn) waiter.resolve(turn);
        else staying.push(waiter);
        hasConflicts ||= turn !== undefined;
      }
      this.#next(key, staying);
    }
    return hasConflicts;
  }

  #next(key: string, waiting: Waiter[]): void {
    const next = waiting.shift();
    if (!next) {
      this.#waiting.delete(key);
      return;
    }
    for (const waiter of waiting) waiter.isEarly = false;
    this.#waiting.set(key, waiting);
    next.resolve(WRITE);
  }

  #takeOne(key: string, ifVersion: bigint | undefined): Turn | Promise<Turn> {
    const waiting = this.#waiting.get(key);
    if (waiting) return new Promise((resolve) => waiting.push({ ifVersion, isEarly: false, resolve }));
    this.#waiting.set(key, []);
    return WRITE;
  }
}

const WRITE: Turn = { type: "write" };

/** How a waiting commit ends without a turn of its own; undefined if its condition may hold. */
function turnOf({ ifVersion, isEarly }: Waiter, present: KnownVersion): Turn | undefined {
  if (ifVersion === undefined || ifVersion === present.version) return undefined;
  return isEarly && present.isWritten ? { type: "conflict", actual: present.entry } : { type: "read" };
}
