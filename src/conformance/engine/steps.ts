import { utf8 } from "../../lib/utf8.js";
import type { Commit, KeyStore, Write } from "../../server/engine.js";
import { EngineFault } from "../../server/engine.js";
import { AssertionError, ok } from "../expect.js";

/** How late what happens by itself may be: an expiry that is told, an event that is due again. */
export const LATE_MS = 1000;

/** A signal that does not abort. */
export const neverAborts = (): AbortSignal => new AbortController().signal;

export const sleepMs = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Resolves when the clock has passed `atMs`: timers may be a little early. */
export async function waitUntilAfter(atMs: number): Promise<void> {
  while (Date.now() <= atMs) await sleepMs(atMs - Date.now() + 1);
}

/** Lets the clock pass `atMs` and nothing else happen: no timer is in time. */
export function blockUntil(atMs: number): void {
  while (Date.now() < atMs) {}
}

export const isUnavailable = (error: unknown): boolean =>
  error instanceof EngineFault && error.reason === "unavailable";

/** `count` bytes that differ by place and by `seed`. */
export function patternBytes(count: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(count);
  for (let i = 0; i < count; i++) bytes[i] = i * 31 + (i >>> 8) + seed;
  return bytes;
}

/** Names that an engine must not take apart, fold or confuse with each other. */
export const DISTINCT_NAMES = [
  "a",
  "A",
  "a ",
  "a/b",
  "a/../b",
  "..",
  "a||b",
  "a\0b",
  "a\0b\0",
  "a.b.*.>",
  "CON",
  "%2e%2e",
  "ключ",
  "e\u0301",
  "\u00e9",
  "钥匙 🔑",
  "x".repeat(1024),
];

/** In the byte order of their UTF-8; UTF-16 units would put the astral ones before U+E000 and U+FFFF. */
export const ORDERED_NAMES = [
  "",
  "\0",
  "1",
  "10",
  "2",
  "A",
  "a",
  "aa",
  "é",
  "\ud7ff",
  "\ue000",
  "\uffff",
  "😀",
  "😀a",
];

/** Everything that `iterable` yields until it ends. */
export async function collect<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of iterable) items.push(item);
  return items;
}

/** Reads an iteration step by step. */
export interface Reader<T> {
  /** The next item; fails where the iteration ends instead. */
  next(): Promise<T>;
  take(count: number): Promise<T[]>;
  /** Fails where an item comes within `ms`. What comes later is next()'s. */
  quiet(ms?: number): Promise<void>;
  /** Resolves when it ends; fails where an item comes instead. */
  end(): Promise<void>;
  /** Leaves it, as `break` does. */
  leave(): Promise<void>;
}

export function reader<T>(iterable: AsyncIterable<T>): Reader<T> {
  const iterator = iterable[Symbol.asyncIterator]();
  let pending: Promise<IteratorResult<T>> | undefined;
  const step = () => {
    pending ??= iterator.next();
    return pending;
  };
  const next = async () => {
    const result = await step();
    pending = undefined;
    if (result.done) throw new AssertionError("expected another item, the iteration ended");
    return result.value;
  };
  return {
    next,
    async take(count) {
      const items: T[] = [];
      while (items.length < count) items.push(await next());
      return items;
    },
    async quiet(ms = 20) {
      const result = await Promise.race([step(), sleepMs(ms)]);
      if (result) throw new AssertionError("expected nothing to come", result);
    },
    async end() {
      const { done, value } = await step();
      if (!done) throw new AssertionError("expected the end", value);
    },
    async leave() {
      await iterator.return?.();
    },
  };
}

/** Sets `key` to the text `value`. */
export const set = (key: string, value = key, options: Partial<Write & { type: "set" }> = {}): Write => ({
  type: "set",
  key,
  value: utf8(value),
  ...options,
});

/** Commits what nothing stands in the way of; the version. */
export async function commitWrites(keys: KeyStore, ...writes: Write[]): Promise<bigint> {
  const commit = await keys.commit(writes);
  ok("version" in commit, "the commit meets no conflict");
  return commit.version;
}

/** Commits what something stands in the way of; the conflict. */
export async function expectConflict(
  keys: KeyStore,
  ...writes: Write[]
): Promise<Extract<Commit, { conflict: Write }>> {
  const commit = await keys.commit(writes);
  ok("conflict" in commit, "the commit meets a conflict");
  return commit;
}

/** Content that stops after its first chunk, which `stopped` tells, until go() is called. */
export function pausedContent(first: Uint8Array, ...rest: Uint8Array[]) {
  let go = () => {};
  let stop = () => {};
  const going = new Promise<void>((resolve) => {
    go = resolve;
  });
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  const content = (async function* () {
    yield first;
    stop();
    await going;
    yield* rest;
  })();
  return { content, stopped, go };
}
