import { after } from "../../../internal/timer.js";
import { compareUtf8 } from "../../../internal/utf8.js";
import { type Commit, EngineFault, type Entry, type KeyStore, type Write } from "../../engine.js";
import { ChangeFeed } from "./change-feed.js";
import { createSortedMap, valuesUnder } from "./sorted-map.js";

/** The keys of the memory engine: a commit is one turn of the event loop, so it is atomic by itself. */
export class MemoryKeys implements KeyStore {
  readonly #entries = createSortedMap<string, Entry>(compareUtf8);
  readonly #expiries = createSortedMap<Expiry, true>((a, b) => a.atMs - b.atMs || compareUtf8(a.key, b.key));
  readonly #changes = new ChangeFeed();
  readonly #now: () => number;
  #version = 0n;
  #stopTimer: (() => void) | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor(now: () => number) {
    this.#now = now;
  }

  async get(key: string): Promise<Entry | undefined> {
    this.#open();
    return this.#live(key);
  }

  async getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    this.#open();
    return keys.map((key) => this.#live(key));
  }

  async commit(writes: readonly Write[]): Promise<Commit> {
    this.#open();
    for (const write of writes) {
      const actual = this.#live(write.key);
      if (write.ifVersion !== undefined && write.ifVersion !== (actual?.version ?? 0n)) {
        return { conflict: write, actual };
      }
    }
    const version = ++this.#version;
    for (const write of writes) this.#apply(write, version);
    return { version };
  }

  async *list(prefix: string, after?: string): AsyncIterable<Entry> {
    for (const entry of valuesUnder(this.#entries, prefix, after)) {
      this.#open();
      if (this.#live(entry.key) === entry) yield entry;
    }
  }

  watch(prefix: string, signal: AbortSignal) {
    this.#open();
    return this.#changes.watch(prefix, signal);
  }

  close(): void {
    this.#closed = true;
    this.#stopTimer?.();
    this.#changes.close();
  }

  #open(): void {
    if (this.#closed) throw new EngineFault("away", "the memory engine is closed");
  }

  #live(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry?.expiresAtMs === undefined || entry.expiresAtMs > this.#now()) return entry;
    this.#remove(entry);
    return undefined;
  }

  #apply(write: Write, version: bigint): void {
    if (write.type === "check") return;
    const { key } = write;
    const present = this.#entries.get(key);
    if (write.type === "delete") {
      if (present) this.#remove(present);
      return;
    }
    const expiresAtMs =
      write.ttlMs === "keep"
        ? present?.expiresAtMs
        : write.ttlMs === undefined
          ? undefined
          : this.#now() + write.ttlMs;
    if (present?.expiresAtMs !== undefined) this.#expiries.delete({ atMs: present.expiresAtMs, key });
    const entry: Entry = { key, value: write.value, version };
    if (expiresAtMs !== undefined) {
      entry.expiresAtMs = expiresAtMs;
      this.#expiries.set({ atMs: expiresAtMs, key }, true);
      this.#schedule();
    }
    this.#entries.set(key, entry);
    this.#changes.tell({ type: "set", entry });
  }

  #remove({ key, expiresAtMs }: Entry): void {
    this.#entries.delete(key);
    if (expiresAtMs !== undefined) this.#expiries.delete({ atMs: expiresAtMs, key });
    this.#changes.tell({ type: "delete", key });
  }

  /** One timer, set for the entry that expires next: its memory is freed and its watchers are told on time. */
  #schedule(): void {
    const next = this.#expiries.minKey()?.atMs ?? Number.POSITIVE_INFINITY;
    if (this.#closed || next >= this.#timerAtMs) return;
    this.#stopTimer?.();
    this.#timerAtMs = next;
    this.#stopTimer = after(next - this.#now(), () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      const nowMs = this.#now();
      for (let due = this.#expiries.minKey(); due && due.atMs <= nowMs; due = this.#expiries.minKey()) {
        const entry = this.#entries.get(due.key);
        if (entry) this.#remove(entry);
        else this.#expiries.delete(due);
      }
      if (this.#expiries.size > 0) this.#schedule();
    });
  }
}

type Expiry = { atMs: number; key: string };
