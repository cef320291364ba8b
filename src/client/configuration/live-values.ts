import { type CancelableIterator, cancelable } from "../../lib/cancelable-iterator.js";
import { onAbort } from "../../lib/on-abort.js";
import { canceled } from "../../rpc/canceled.js";
import type { ConfigurationChange } from "../configuration.js";

/** How many changes may wait for a reader before the changes of one key are merged into one. */
const COMPACT_ABOVE = 1024;

/** Strings by key that change over time: a snapshot at any time, and every change for those who iterate. */
export class LiveValues {
  readonly #fallback: ReadonlyMap<string, string>;
  readonly #values = new Map<string, string>();
  readonly #readers = new Set<Reader>();
  #current: Readonly<Record<string, string>>;
  #ended: { error?: unknown } | undefined;

  /** `fallback` holds the values of keys that are not set. */
  constructor(fallback: Readonly<Record<string, string>> = {}) {
    this.#fallback = new Map(Object.entries(fallback));
    this.#current = this.#snapshot();
  }

  /** All values, in a frozen object that each change replaces. */
  get current(): Readonly<Record<string, string>> {
    return this.#current;
  }

  /** Replaces all values by `values`, except those of the keys in `except`. */
  replace(values: ReadonlyMap<string, string>, except: ReadonlySet<string> = new Set()): void {
    const keys = [...new Set([...this.#values.keys(), ...values.keys()])].filter((key) => !except.has(key));
    this.set(keys.map((key) => [key, values.get(key)]));
  }

  /** Sets values; undefined removes one. */
  set(values: Iterable<readonly [string, string | undefined]>): void {
    const changes: ConfigurationChange[] = [];
    for (const [key, content] of values) {
      const previous = this.#get(key);
      if (content === undefined) this.#values.delete(key);
      else this.#values.set(key, content);
      const value = this.#get(key);
      if (value !== previous) changes.push({ key, value, previous });
    }
    if (changes.length === 0) return;
    this.#current = this.#snapshot();
    for (const reader of this.#readers) for (const change of changes) reader.add(change);
  }

  /** The changes from this call on, including those before the first read. Aborting `signal` throws in the loop. */
  changes(signal?: AbortSignal): CancelableIterator<ConfigurationChange> {
    const reader = new Reader();
    if (this.#ended) reader.end(this.#ended);
    else this.#readers.add(reader);
    return cancelable((signal) => reader.read(signal), {
      signal,
      onEnd: () => this.#readers.delete(reader),
    });
  }

  /** Ends every loop over changes() after the changes that wait for it; with `error` the loop throws it. */
  end(ended: { error?: unknown } = {}): void {
    this.#ended ??= ended;
    for (const reader of this.#readers) reader.end(this.#ended);
    this.#readers.clear();
  }

  #get(key: string): string | undefined {
    return this.#values.get(key) ?? this.#fallback.get(key);
  }

  /** Without a prototype: a key like "toString" must be undefined unless it is set. */
  #snapshot(): Readonly<Record<string, string>> {
    const all: Record<string, string> = Object.create(null);
    for (const [key, value] of [...this.#fallback, ...this.#values]) all[key] = value;
    return Object.freeze(all);
  }
}

/** One loop over the changes. The number of changes that wait for it is bounded. */
class Reader {
  #pending: ConfigurationChange[] = [];
  #compactAbove = COMPACT_ABOVE;
  #ended: { error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  add(change: ConfigurationChange): void {
    this.#pending.push(change);
    if (this.#pending.length > this.#compactAbove) this.#compact();
    this.#wake?.();
  }

  end(ended: { error?: unknown }): void {
    this.#ended = ended;
    this.#wake?.();
  }

  async *read(signal: AbortSignal): AsyncGenerator<ConfigurationChange, void, undefined> {
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
    const byKey = new Map<string, ConfigurationChange>();
    for (const { key, value, previous } of this.#pending) {
      const first = byKey.get(key);
      byKey.delete(key);
      byKey.set(key, { key, value, previous: first ? first.previous : previous });
    }
    this.#pending = [...byKey.values()].filter(({ value, previous }) => value !== previous);
    this.#compactAbove = Math.max(COMPACT_ABOVE, this.#pending.length * 2);
  }
}
