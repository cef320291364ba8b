import { type CancelableIterator, cancelable } from "../../lib/cancelable-iterator.js";
import { onAbort } from "../../lib/on-abort.js";
import { canceled } from "../../rpc/canceled.js";

/** A value that is another now. Where a key has a fallback, that is its value while it has none of its own. */
export type ValueChange = {
  /** Whose value it is. */
  key: string;
  /** What it is now; undefined: nothing. */
  value: string | undefined;
  /** What it was; undefined: nothing. */
  previous: string | undefined;
};

/** How many changes a reader may be behind before those of one key become one. */
const COMPACT_ABOVE = 1024;

/** Texts by key that change while others look: a snapshot at any time, and every change to those who iterate. */
export class LiveValues {
  readonly #fallback: ReadonlyMap<string, string>;
  readonly #values = new Map<string, string>();
  readonly #readers = new Set<Reader>();
  #current: Readonly<Record<string, string>>;
  #ended: { error?: unknown } | undefined;

  /** `fallback` has the values of keys that are not set. */
  constructor(fallback: Readonly<Record<string, string>> = {}) {
    this.#fallback = new Map(Object.entries(fallback));
    this.#current = this.#snapshot();
  }

  /** All values, in an object that never changes: another one takes its place. */
  get current(): Readonly<Record<string, string>> {
    return this.#current;
  }

  /** Makes `values` all that there are. The keys in `but` stay as they are. */
  replace(values: ReadonlyMap<string, string>, but: ReadonlySet<string> = new Set()): void {
    const keys = [...new Set([...this.#values.keys(), ...values.keys()])].filter((key) => !but.has(key));
    this.set(keys.map((key) => [key, values.get(key)]));
  }

  /** Sets values; undefined removes one. */
  set(values: Iterable<readonly [string, string | undefined]>): void {
    const changes: ValueChange[] = [];
    for (const [key, given] of values) {
      const previous = this.#get(key);
      if (given === undefined) this.#values.delete(key);
      else this.#values.set(key, given);
      const value = this.#get(key);
      if (value !== previous) changes.push({ key, value, previous });
    }
    if (changes.length === 0) return;
    this.#current = this.#snapshot();
    for (const reader of this.#readers) for (const change of changes) reader.add(change);
  }

  /** The changes from this call on, also those before the first read. Aborting `signal` throws in the loop. */
  changes(signal?: AbortSignal): CancelableIterator<ValueChange> {
    const reader = new Reader();
    if (this.#ended) reader.end(this.#ended);
    else this.#readers.add(reader);
    return cancelable((signal) => reader.read(signal), {
      signal,
      onEnd: () => this.#readers.delete(reader),
    });
  }

  /** Ends every loop over changes() once it has seen what there is, with `error` where one is given. */
  end(ended: { error?: unknown } = {}): void {
    this.#ended ??= ended;
    for (const reader of this.#readers) reader.end(this.#ended);
    this.#readers.clear();
  }

  #get(key: string): string | undefined {
    return this.#values.get(key) ?? this.#fallback.get(key);
  }

  /** Without a prototype, so that no key is there by itself. */
  #snapshot(): Readonly<Record<string, string>> {
    const all: Record<string, string> = Object.create(null);
    for (const [key, value] of [...this.#fallback, ...this.#values]) all[key] = value;
    return Object.freeze(all);
  }
}

/** One loop over the changes. One that does not read holds a bounded number of them. */
class Reader {
  #pending: ValueChange[] = [];
  #compactAbove = COMPACT_ABOVE;
  #ended: { error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  add(change: ValueChange): void {
    this.#pending.push(change);
    if (this.#pending.length > this.#compactAbove) this.#compact();
    this.#wake?.();
  }

  end(ended: { error?: unknown }): void {
    this.#ended = ended;
    this.#wake?.();
  }

  async *read(signal: AbortSignal): AsyncGenerator<ValueChange, void, undefined> {
    const stop = onAbort(signal, () => this.#wake?.());
    try {
      while (true) {
        if (signal.aborted) throw canceled(signal);
        const change = this.#pending.shift();
        if (change) {
          yield change;
        } else if (this.#ended) {
          if ("error" in this.#ended) throw this.#ended.error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      stop();
    }
  }

  #compact(): void {
    const byKey = new Map<string, ValueChange>();
    for (const { key, value, previous } of this.#pending) {
      const first = byKey.get(key);
      byKey.delete(key);
      byKey.set(key, { key, value, previous: first ? first.previous : previous });
    }
    this.#pending = [...byKey.values()].filter(({ value, previous }) => value !== previous);
    this.#compactAbove = Math.max(COMPACT_ABOVE, this.#pending.length * 2);
  }
}
