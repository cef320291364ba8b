import { after } from "../../../internal/timer.js";
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
export const sum = (nowMs: number, ttlMs: number): number => Math.min(LATEST_MS, nowMs + ttlMs);

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
  /** The last of what is being removed just now. */
  #until: string | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #stopTimer: (() => void) | undefined;
  #closed = false;

  /** `expire` removes what is due. */
  constructor(tree: Tree, now: () => number, expire: (due: Expiry[]) => Promise<void>) {
    this.#tree = tree;
    this.#now = now;
    this.#expire = expire;
    this.#scheduleNext();
  }

  /** To be called when an entry has become durable. */
  expect({ key, expiresAtMs }: { key: string; expiresAtMs?: number }): void {
    if (expiresAtMs === undefined) return;
    const seen = this.#until ?? this.#past;
    if (seen !== undefined && expiryKey(expiresAtMs, key) <= seen) {
      this.#past = undefined;
      this.#until = undefined;
    }
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
    this.#stopTimer = after(atMs - this.#now(), () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      void this.#removeDue();
    });
  }

  #scheduleNext(): void {
    const { entries, after: rest } = this.#tree.page(EXPIRIES, this.#past, 1);
    if (entries[0]) {
      this.#schedule(expiryIn(entries[0].key).atMs);
    } else if (rest !== undefined) {
      this.#past = rest;
      this.#schedule(this.#now());
    }
  }

  async #removeDue(): Promise<void> {
    try {
      const nowMs = this.#now();
      const { entries } = this.#tree.page(EXPIRIES, this.#past, AT_ONCE);
      const due = entries.filter(({ key }) => expiryIn(key).atMs <= nowMs);
      if (due.length > 0) {
        this.#until = due.at(-1)?.key;
        await this.#expire(due.map(({ key }) => expiryIn(key)));
        // Where another came to stand in front of these meanwhile, the next look begins at the front.
        this.#past = this.#until;
      }
      if (!this.#closed) this.#scheduleNext();
    } catch {
      this.#past = undefined;
      // What has expired is missing for readers all the same.
      this.#schedule(this.#now() + AGAIN_MS);
    } finally {
      this.#until = undefined;
    }
  }
}
