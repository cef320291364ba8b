import { runAfter } from "../../../lib/timer.js";
import type { Tree } from "./tree.js";

/** A key, and when it expires. */
export type Expiry = { atMs: number; key: string };

/** Where the tree says when which keys expire, in the order of the times. */
const EXPIRIES = "x";

/** The last moment that has a place in that order. */
const LATEST_MS = 2 ** 52;

const AT_ONCE = 256;

/** How long after a refusal of the disk the removal of what has expired is tried again. */
const AGAIN_MS = 1000;

/** When what is written now for so long expires. */
export const expiryTime = (nowMs: number, ttlMs: number): number => Math.min(LATEST_MS, nowMs + ttlMs);

/** Fractions of a millisecond are kept behind the digits that sort. */
export function expiryKey(atMs: number, key: string): string {
  const order = Math.floor(atMs).toString(16).padStart(14, "0");
  return `${EXPIRIES}${order}${atMs}\0${key}`;
}

function expiryIn(key: string): Expiry {
  const end = key.indexOf("\0");
  return { atMs: Number(key.slice(EXPIRIES.length + 14, end)), key: key.slice(end + 1) };
}

/** One timer, set for the key that expires next: its space is given back and its watchers are told on time. */
export class Expiries {
  readonly #tree: Tree;
  readonly #now: () => number;
  readonly #expire: (due: Expiry[]) => Promise<void>;
  /** No key expires before this place: what was there has been removed, and need not be passed over again. */
  #past: string | undefined;
  /** Whether the tree is being looked into, and the first place of what has become durable meanwhile. */
  #looking = false;
  #least: string | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #stopTimer: (() => void) | undefined;
  #closed = false;

  /** `expire` removes what is due. */
  constructor(tree: Tree, now: () => number, expire: (due: Expiry[]) => Promise<void>) {
    this.#tree = tree;
    this.#now = now;
    this.#expire = expire;
    void this.#look();
  }

  /** To be called when an entry has become durable. */
  expect({ key, expiresAtMs }: { key: string; expiresAtMs?: number }): void {
    if (expiresAtMs === undefined) return;
    const place = expiryKey(expiresAtMs, key);
    if (this.#past !== undefined && place <= this.#past) this.#past = undefined;
    if (this.#least === undefined || place < this.#least) this.#least = place;
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
      if (!this.#looking) void this.#look();
    });
  }

  /** Removes what is due, and sets the timer for what comes next. */
  async #look(): Promise<void> {
    this.#looking = true;
    this.#least = undefined;
    let nextMs = Number.POSITIVE_INFINITY;
    try {
      const { entries } = await this.#tree.page(EXPIRIES, this.#past, AT_ONCE);
      const nowMs = this.#now();
      const expiries = entries.map(({ key }) => expiryIn(key));
      const left = expiries.findIndex(({ atMs }) => atMs > nowMs);
      const due = left < 0 ? expiries : expiries.slice(0, left);
      const last = entries[due.length - 1]?.key;
      if (last !== undefined) {
        await this.#expire(due);
        // Where another came to stand in front of these meanwhile, the next look begins at the front.
        this.#past = this.#hasCome(last) ? undefined : last;
      }
      nextMs = expiries[due.length]?.atMs ?? (due.length > 0 ? nowMs : nextMs);
    } catch {
      this.#past = undefined;
      // What has expired is missing for readers all the same.
      nextMs = this.#now() + AGAIN_MS;
    } finally {
      this.#looking = false;
    }
    // Of what came meanwhile the timer may have gone by.
    this.#schedule(Math.min(nextMs, this.#leastMs));
  }

  /** Whether anything has come to stand in front of `place` since the look began. */
  #hasCome(place: string): boolean {
    return this.#least !== undefined && this.#least <= place;
  }

  get #leastMs(): number {
    return this.#least === undefined ? Number.POSITIVE_INFINITY : expiryIn(this.#least).atMs;
  }
}
