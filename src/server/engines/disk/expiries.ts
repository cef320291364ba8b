import { runAfter } from "../../../lib/timer.js";
import type { Tree } from "./tree.js";

/** A key and the time at which it expires. */
export type Expiry = { atMs: number; key: string };

/** The prefix in the tree of the expiries, in the order of their times. */
const EXPIRIES = "x";

/** The latest time that this order can represent. */
const LATEST_MS = 2 ** 52;

/** How many expiries are read in one page. */
const PAGE_ENTRIES = 256;

/** How long after a failed write the removal of expired keys is tried again. */
const RETRY_AFTER_MS = 1000;

/** The time at which an entry that is written now with this ttl expires. */
export const expiryTime = (nowMs: number, ttlMs: number): number => Math.min(LATEST_MS, nowMs + ttlMs);

/** The key of an expiry. The exact time, with fractions of a millisecond, follows the digits that sort. */
export function expiryKey(atMs: number, key: string): string {
  const order = Math.floor(atMs).toString(16).padStart(14, "0");
  return `${EXPIRIES}${order}${atMs}\0${key}`;
}

function parseExpiry(key: string): Expiry {
  const end = key.indexOf("\0");
  return { atMs: Number(key.slice(EXPIRIES.length + 14, end)), key: key.slice(end + 1) };
}

/** Removes keys when they expire: one timer, set for the next expiry. */
export class Expiries {
  readonly #tree: Tree;
  readonly #now: () => number;
  readonly #expire: (due: Expiry[]) => Promise<void>;
  /** The key of the last removed expiry: the next scan begins after it, as there is none before it. */
  #past: string | undefined;
  #scanning = false;
  /** The least key of the expiries that were added during the scan. */
  #leastAdded: string | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #stopTimer: (() => void) | undefined;
  #closed = false;

  /** `expire` removes the due keys. */
  constructor(tree: Tree, now: () => number, expire: (due: Expiry[]) => Promise<void>) {
    this.#tree = tree;
    this.#now = now;
    this.#expire = expire;
    void this.#scan();
  }

  /** Must be called when an entry has become durable. */
  add({ key, expiresAtMs }: { key: string; expiresAtMs?: number }): void {
    if (expiresAtMs === undefined) return;
    const added = expiryKey(expiresAtMs, key);
    if (this.#past !== undefined && added <= this.#past) this.#past = undefined;
    if (this.#leastAdded === undefined || added < this.#leastAdded) this.#leastAdded = added;
    this.#schedule(expiresAtMs);
  }

  close(): void {
    this.#closed = true;
    this.#stopTimer?.();
  }

  #schedule(atMs: number): void {
    if (this.#closed || atMs >= this.#timerAtMs) return;
    this.#stopTimer?.();
    this.#timerAtMs = atMs;
    this.#stopTimer = runAfter(atMs - this.#now(), () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      if (!this.#scanning) void this.#scan();
    });
  }

  /** Removes the due keys, and sets the timer for the next expiry. */
  async #scan(): Promise<void> {
    this.#scanning = true;
    this.#leastAdded = undefined;
    let nextMs = Number.POSITIVE_INFINITY;
    try {
      const { entries } = await this.#tree.page(EXPIRIES, this.#past, PAGE_ENTRIES);
      const nowMs = this.#now();
      const expiries = entries.map(({ key }) => parseExpiry(key));
      const firstLater = expiries.findIndex(({ atMs }) => atMs > nowMs);
      const due = firstLater < 0 ? expiries : expiries.slice(0, firstLater);
      const last = entries[due.length - 1]?.key;
      if (last !== undefined) {
        await this.#expire(due);
        // If an earlier expiry was added in the meantime, the next scan begins from the start.
        this.#past = this.#hasAddedUpTo(last) ? undefined : last;
      }
      nextMs = expiries[due.length]?.atMs ?? (due.length > 0 ? nowMs : nextMs);
    } catch {
      this.#past = undefined;
      // Readers do not see expired keys, even before they are removed.
      nextMs = this.#now() + RETRY_AFTER_MS;
    } finally {
      this.#scanning = false;
    }
    // The timer of an expiry that was added during the scan may have fired already.
    this.#schedule(Math.min(nextMs, this.#leastAddedMs));
  }

  /** Whether an expiry with this or a lesser key was added since the scan began. */
  #hasAddedUpTo(key: string): boolean {
    return this.#leastAdded !== undefined && this.#leastAdded <= key;
  }

  get #leastAddedMs(): number {
    return this.#leastAdded === undefined ? Number.POSITIVE_INFINITY : parseExpiry(this.#leastAdded).atMs;
  }
}
