import type { StoredEntry } from "./stored-entry.js";

/** nats-server ends the lifetime of an entry that was written after a deletion later than this. */
const REPEAT_MS = 2000;

/**
 * The deletions of the last moment. nats-server's removal of an expired entry has no condition: it may come behind the
 * deletion by a server, and tell of the same expiry again.
 */
export class RecentDeletions {
  readonly #latest = new Map<string, { sequence: number; atMs: number }>();

  /** Notes a message of a key. Returns the sequence of the deletion that it repeats; undefined if it is not such one. */
  note({ subject, sequence, isDeleted, isMarker = false }: StoredEntry): number | undefined {
    const nowMs = performance.now();
    for (const [old, { atMs }] of this.#latest) {
      if (nowMs - atMs < REPEAT_MS) break;
      this.#latest.delete(old);
    }
    const before = this.#latest.get(subject);
    this.#latest.delete(subject);
    if (isDeleted) this.#latest.set(subject, { sequence, atMs: nowMs });
    return isMarker ? before?.sequence : undefined;
  }
}
