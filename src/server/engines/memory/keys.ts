import { Heap } from "../../../lib/heap.js";
import { runAfter } from "../../../lib/timer.js";
import type { Change, Commit, Entry, KeyStore, Write } from "../../engine.js";
import { ChangeFeed } from "../shared/change-feed.js";
import { closedError, fullError } from "../shared/errors.js";
import { compactBytes } from "./compact-bytes.js";
import { SortedMap } from "./sorted-map.js";

interface KeyLimits {
  maxKeyBytes: number;
  maxWatchBacklog: number;
  now: () => number;
}

/** Counts for each entry besides its key and value, for `maxKeyBytes`. */
const ENTRY_OVERHEAD_BYTES = 256;

/** At most this many entries expire in one turn of the event loop. */
const EXPIRE_AT_ONCE = 10_000;

/** The keys of the memory engine. A commit runs in one turn of the event loop, which makes it atomic. */
export class MemoryKeys implements KeyStore {
  readonly #entries = new SortedMap<Entry>();
  /** The times at which entries expire, soonest first. Times that no longer match their entry are skipped. */
  readonly #expiries = new Heap<Expiry>((a, b) => a.atMs - b.atMs);
  /** The number of entries with an expiry. */
  #expiring = 0;
  readonly #changes: ChangeFeed;
  readonly #limits: KeyLimits;
  #bytes = 0;
  #version = 0n;
  #stopTimer: (() => void) | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor(limits: KeyLimits) {
    this.#limits = limits;
    this.#changes = new ChangeFeed(limits.maxWatchBacklog);
  }

  async get(key: string): Promise<Entry | undefined> {
    this.#checkOpen();
    return this.#live(key, this.#limits.now());
  }

  async getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    this.#checkOpen();
    const nowMs = this.#limits.now();
    return keys.map((key) => this.#live(key, nowMs));
  }

  async commit(writes: readonly Write[]): Promise<Commit> {
    this.#checkOpen();
    const nowMs = this.#limits.now();
    let grown = 0;
    for (const write of writes) {
      const actual = this.#live(write.key, nowMs);
      if (write.ifVersion !== undefined && write.ifVersion !== (actual?.version ?? 0n)) {
        return { conflict: write, actual };
      }
      if (write.type === "check") continue;
      if (write.type === "set") grown += weight(write);
      if (actual) grown -= weight(actual);
    }
    const { maxKeyBytes } = this.#limits;
    if (grown > 0 && this.#bytes + grown > maxKeyBytes) {
      throw fullError("maxKeyBytes", maxKeyBytes, "all keys and values of the memory engine together");
    }
    const version = ++this.#version;
    for (const write of writes) this.#apply(write, version, nowMs);
    return { version };
  }

  async *list(prefix: string, after?: string): AsyncIterable<Entry> {
    this.#checkOpen();
    for (const entry of this.#entries.valuesUnder(prefix, after)) {
      if (this.#live(entry.key, this.#limits.now()) === entry) yield entry;
      this.#checkOpen();
    }
  }

  watch(prefix: string, signal: AbortSignal): AsyncIterable<Change> {
    this.#checkOpen();
    return this.#changes.watch(prefix, signal);
  }

  close(): void {
    this.#closed = true;
    this.#stopTimer?.();
    this.#changes.close();
    this.#entries.clear();
    this.#expiries.clear();
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError("memory");
  }

  #live(key: string, nowMs: number): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry?.expiresAtMs === undefined || entry.expiresAtMs > nowMs) return entry;
    this.#remove(entry);
    return undefined;
  }

  #apply(write: Write, version: bigint, nowMs: number): void {
    if (write.type === "check") return;
    const { key } = write;
    const present = this.#entries.get(key);
    if (write.type === "delete") {
      if (present) this.#remove(present);
      return;
    }
    const entry: Entry = { key, value: compactBytes(write.value), version };
    const expiresAtMs =
      write.ttlMs === "keep"
        ? present?.expiresAtMs
        : write.ttlMs === undefined
          ? undefined
          : nowMs + write.ttlMs;
    if (present) this.#account(present, -1);
    if (expiresAtMs !== undefined) entry.expiresAtMs = expiresAtMs;
    this.#entries.set(key, entry);
    this.#account(entry, 1);
    if (expiresAtMs !== undefined && expiresAtMs !== present?.expiresAtMs) this.#expire(key, expiresAtMs);
    this.#changes.publish({ type: "set", entry });
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry.key);
    this.#account(entry, -1);
    this.#changes.publish({ type: "delete", key: entry.key });
  }

  #account(entry: Entry, times: 1 | -1): void {
    this.#bytes += times * weight(entry);
    if (entry.expiresAtMs === undefined) return;
    this.#expiring += times;
    if (this.#expiries.size <= 2 * this.#expiring + 1024) return;
    this.#expiries.retain(({ key, atMs }) => this.#entries.get(key)?.expiresAtMs === atMs);
  }

  #expire(key: string, atMs: number): void {
    this.#expiries.push({ key, atMs });
    this.#schedule();
  }

  /** Sets one timer for the next expiry, which frees the entry's memory and notifies its watchers. */
  #schedule(): void {
    const next = this.#expiries.peek()?.atMs ?? Number.POSITIVE_INFINITY;
    if (next >= this.#timerAtMs) return;
    this.#stopTimer?.();
    this.#timerAtMs = next;
    this.#stopTimer = runAfter(next - this.#limits.now(), () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      this.#expireDue();
      this.#schedule();
    });
  }

  #expireDue(): void {
    const nowMs = this.#limits.now();
    for (let most = EXPIRE_AT_ONCE; most > 0; most--) {
      const due = this.#expiries.peek();
      if (!due || due.atMs > nowMs) return;
      this.#expiries.pop();
      const entry = this.#entries.get(due.key);
      if (entry?.expiresAtMs === due.atMs) this.#remove(entry);
    }
  }
}

type Expiry = { key: string; atMs: number };

const weight = ({ key, value }: { key: string; value: Uint8Array }): number =>
  key.length + value.length + ENTRY_OVERHEAD_BYTES;
