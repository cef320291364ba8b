import type { Change } from "../../engine.js";
import { fullError } from "./errors.js";

/** If a reader is behind by more changes or bytes than these, only the last change of each key is kept. */
const COMPACT_ABOVE = 1024;
const COMPACT_ABOVE_BYTES = 1024 ** 2;

const bytesOf = (change: Change): number => (change.type === "set" ? change.entry.value.length : 0);

const keyOf = (change: Change): string => (change.type === "set" ? change.entry.key : change.key);

/** Sends changes to watchers. For a watcher that does not read, it keeps one change per key instead of all. */
export class ChangeFeed {
  readonly #watchers = new Map<string, Set<Watcher>>();
  /** The number of watched prefixes of each length. A change looks up one prefix per length, not every watcher. */
  readonly #lengths = new Map<number, number>();
  readonly #mostKeys: number;

  /** `mostKeys`: the most changed keys that may wait for one watcher. */
  constructor(mostKeys: number) {
    this.#mostKeys = mostKeys;
  }

  publish(change: Change): void {
    const key = keyOf(change);
    for (const length of this.#lengths.keys()) {
      if (length > key.length) continue;
      for (const watcher of this.#watchers.get(key.slice(0, length)) ?? []) watcher.add(change);
    }
  }

  watch(prefix: string, signal: AbortSignal): AsyncIterable<Change> {
    const watcher = new Watcher(this.#mostKeys, () => {
      signal.removeEventListener("abort", watcher.end);
      this.#remove(prefix, watcher);
    });
    this.#add(prefix, watcher);
    if (signal.aborted) watcher.end();
    else signal.addEventListener("abort", watcher.end, { once: true });
    return watcher.read();
  }

  /** Ends all watches with an error: there are changes that they cannot be told of. */
  fail(error: Error): void {
    for (const watchers of [...this.#watchers.values()])
      for (const watcher of [...watchers]) watcher.fail(error);
  }

  close(): void {
    for (const watchers of [...this.#watchers.values()]) for (const watcher of [...watchers]) watcher.end();
  }

  #add(prefix: string, watcher: Watcher): void {
    const watchers = this.#watchers.get(prefix);
    if (watchers) {
      watchers.add(watcher);
      return;
    }
    this.#watchers.set(prefix, new Set([watcher]));
    this.#lengths.set(prefix.length, (this.#lengths.get(prefix.length) ?? 0) + 1);
  }

  #remove(prefix: string, watcher: Watcher): void {
    const watchers = this.#watchers.get(prefix);
    if (!watchers?.delete(watcher) || watchers.size > 0) return;
    this.#watchers.delete(prefix);
    const remaining = (this.#lengths.get(prefix.length) ?? 0) - 1;
    if (remaining > 0) this.#lengths.set(prefix.length, remaining);
    else this.#lengths.delete(prefix.length);
  }
}

class Watcher {
  readonly #mostKeys: number;
  readonly #onEnd: () => void;
  #pending: Change[] = [];
  #bytes = 0;
  #compactAbove: number;
  #compactAboveBytes = COMPACT_ABOVE_BYTES;
  #ended = false;
  #error: unknown;
  #wake: (() => void) | undefined;

  constructor(mostKeys: number, onEnd: () => void) {
    this.#mostKeys = mostKeys;
    this.#compactAbove = this.#minCompactAbove;
    this.#onEnd = onEnd;
  }

  get #minCompactAbove(): number {
    return Math.min(COMPACT_ABOVE, this.#mostKeys * 2);
  }

  add(change: Change): void {
    this.#pending.push(change);
    this.#bytes += bytesOf(change);
    if (this.#pending.length > this.#compactAbove || this.#bytes > this.#compactAboveBytes) this.#compact();
    this.#wake?.();
  }

  /** Ends the watch and drops pending changes. */
  readonly end = (): void => {
    if (this.#ended) return;
    this.#ended = true;
    this.#pending = [];
    this.#onEnd();
    this.#wake?.();
  };

  fail(error: Error): void {
    if (this.#ended) return;
    this.#error = error;
    this.end();
  }

  async *read(): AsyncGenerator<Change, void, undefined> {
    try {
      while (!this.#ended) {
        if (this.#pending.length === 0) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
        const batch = this.#pending;
        this.#pending = [];
        this.#bytes = 0;
        this.#compactAbove = this.#minCompactAbove;
        this.#compactAboveBytes = COMPACT_ABOVE_BYTES;
        for (const change of batch) {
          if (this.#ended) break;
          yield change;
        }
      }
      if (this.#error) throw this.#error;
    } finally {
      this.end();
    }
  }

  #compact(): void {
    const last = new Map<string, Change>();
    for (const change of this.#pending) {
      const key = keyOf(change);
      last.delete(key);
      last.set(key, change);
    }
    if (last.size > this.#mostKeys) {
      this.#error = fullError(
        "maxWatchBacklog",
        this.#mostKeys,
        "changes wait for a watcher that does not read",
      );
      this.end();
      return;
    }
    this.#pending = [...last.values()];
    this.#bytes = this.#pending.reduce((sum, change) => sum + bytesOf(change), 0);
    // Twice the remaining size, so that the cost of compacting is constant per change.
    this.#compactAbove = Math.max(this.#minCompactAbove, this.#pending.length * 2);
    this.#compactAboveBytes = Math.max(COMPACT_ABOVE_BYTES, this.#bytes * 2);
  }
}
