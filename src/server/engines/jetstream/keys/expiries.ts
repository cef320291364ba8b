import { Heap } from "../../../../lib/heap.js";
import { runAfter } from "../../../../lib/timer.js";
import { EngineFault } from "../../../engine.js";
import { ConditionError } from "../errors.js";
import type { JetStreamSession } from "../session.js";
import { internalPrefix, subjectPrefix } from "../streams.js";
import { subjectOfKey } from "./key-subjects.js";
import { deleteHeaders, type StoredEntry } from "./stored-entry.js";

/** More entries than these are removed by nats-server alone, up to about two seconds after they expire. */
const MAX_SCHEDULED = 100_000;

/** The deletes that are on their way at once. */
const DELETES_AT_ONCE = 64;

/** An entry that this server has written. */
type ScheduledEntry = Pick<StoredEntry, "subject" | "sequence"> & { key: string; expiresAtMs: number };

/**
 * Deletes the entries that this server has written when they expire, so that watchers are told in time. If it cannot,
 * nats-server does so later. Reads do not depend on it.
 */
export class KeyExpiries {
  readonly #session: JetStreamSession;
  readonly #onDeleted: (entry: StoredEntry) => void;
  /** Soonest first. Entries that were written again since are skipped. */
  readonly #heap = new Heap<ScheduledEntry>((a, b) => a.expiresAtMs - b.expiresAtMs);
  /** The latest entry of each subject that expires. */
  readonly #latest = new Map<string, number>();
  #stopTimer: (() => void) | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  readonly #deletes = new Set<Promise<void>>();
  #isClosed = false;

  /** `onDeleted` is called for every entry that was deleted. */
  constructor(session: JetStreamSession, onDeleted: (entry: StoredEntry) => void) {
    this.#session = session;
    this.#onDeleted = onDeleted;
  }

  /** Schedules the entry, in place of an earlier one of its key. Without an expiry it only cancels that. */
  schedule({ key, subject, sequence, expiresAtMs }: StoredEntry & { key: string }): void {
    // Acknowledgements may overtake each other.
    if ((this.#latest.get(subject) ?? 0) > sequence) return;
    this.#latest.delete(subject);
    if (expiresAtMs === undefined || this.#isClosed || this.#latest.size >= MAX_SCHEDULED) return;
    this.#latest.set(subject, sequence);
    this.#heap.push({ key, subject, sequence, expiresAtMs });
    if (this.#heap.size > 2 * this.#latest.size + 1024) this.#heap.retain((each) => this.#isLatest(each));
    this.#arm();
  }

  /** Stops, and waits for the deletes that are on their way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopTimer?.();
    this.#heap.clear();
    this.#latest.clear();
    await Promise.all(this.#deletes);
  }

  #isLatest({ subject, sequence }: ScheduledEntry): boolean {
    return this.#latest.get(subject) === sequence;
  }

  #arm(): void {
    const next = this.#heap.peek()?.expiresAtMs ?? Number.POSITIVE_INFINITY;
    if (next >= this.#timerAtMs) return;
    this.#stopTimer?.();
    this.#timerAtMs = next;
    this.#stopTimer = runAfter(next - this.#session.clock.now(), () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      this.#deleteDue();
    });
  }

  #deleteDue(): void {
    const nowMs = this.#session.clock.now();
    while (this.#deletes.size < DELETES_AT_ONCE) {
      const due = this.#heap.peek();
      if (!due || due.expiresAtMs > nowMs) break;
      this.#heap.pop();
      if (!this.#isLatest(due)) continue;
      this.#latest.delete(due.subject);
      const deleting = this.#delete(due).finally(() => {
        this.#deletes.delete(deleting);
        if (!this.#isClosed) this.#deleteDue();
      });
      this.#deletes.add(deleting);
    }
    // With all deletes on their way, the first to end goes on.
    if (this.#deletes.size < DELETES_AT_ONCE) this.#arm();
  }

  async #delete(due: ScheduledEntry): Promise<void> {
    try {
      this.#onDeleted(await removeEntry(this.#session, due));
    } catch (error) {
      // Another server has written the key, or the cluster is away: then nats-server removes the entry.
      if (!(error instanceof ConditionError) && !(error instanceof EngineFault)) throw error;
    }
  }
}

/** Deletes an entry that has expired. Fails with a ConditionError if it is not the last message of its key. */
export async function removeEntry(
  session: JetStreamSession,
  { key, sequence }: { key: string; sequence: number },
): Promise<StoredEntry & { key: string }> {
  const at = subjectOfKey(subjectPrefix(session.name, "keys"), key);
  const condition = ["Nats-Expected-Last-Subject-Sequence", String(sequence)] as const;
  const headers = [...deleteHeaders(key, at, 0), condition];
  const message = { subject: at.subject, data: new Uint8Array(0), headers };
  const stored = await session.publish(message, { fence: `${internalPrefix(session.name)}f` });
  return {
    key,
    subject: at.subject,
    sequence: stored.sequence,
    version: BigInt(stored.sequence),
    value: message.data,
    parts: 0,
    expiresAtMs: undefined,
    isDeleted: true,
  };
}
