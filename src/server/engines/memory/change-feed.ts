import type { Change } from "../../engine.js";

/** How many changes a reader may be behind before the older ones of a key make way for its last one. */
const COMPACT_ABOVE = 1024;

/** Hands changes to those who watch. A watcher that does not read holds one change for each key, not all of them. */
export class ChangeFeed {
  readonly #watchers = new Set<Watcher>();

  tell(change: Change): void {
    const key = change.type === "set" ? change.entry.key : change.key;
    for (const watcher of this.#watchers) if (key.startsWith(watcher.prefix)) watcher.add(change);
  }

  watch(prefix: string, signal: AbortSignal): AsyncIterable<Change> {
    const watcher = new Watcher(prefix);
    if (signal.aborted) watcher.end();
    else this.#watchers.add(watcher);
    const leave = () => {
      this.#watchers.delete(watcher);
      watcher.end();
    };
    signal.addEventListener("abort", leave, { once: true });
    return watcher.read(() => {
      signal.removeEventListener("abort", leave);
      leave();
    });
  }

  close(): void {
    for (const watcher of this.#watchers) watcher.end();
    this.#watchers.clear();
  }
}

class Watcher {
  readonly prefix: string;
  #pending: Change[] = [];
  #compactAbove = COMPACT_ABOVE;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  add(change: Change): void {
    this.#pending.push(change);
    if (this.#pending.length > this.#compactAbove) this.#compact();
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *read(onLeave: () => void): AsyncGenerator<Change, void, undefined> {
    try {
      while (true) {
        const batch = this.#pending;
        this.#pending = [];
        this.#compactAbove = COMPACT_ABOVE;
        for (const change of batch) {
          if (this.#ended) return;
          yield change;
        }
        if (this.#ended) return;
        if (this.#pending.length > 0) continue;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      onLeave();
    }
  }

  #compact(): void {
    const last = new Map<string, Change>();
    for (const change of this.#pending) {
      const key = change.type === "set" ? change.entry.key : change.key;
      last.delete(key);
      last.set(key, change);
    }
    this.#pending = [...last.values()];
    this.#compactAbove = Math.max(COMPACT_ABOVE, this.#pending.length * 2);
  }
}
