import { setImmediate } from "node:timers/promises";
import { type Backoff, jitteredMs } from "../../../../lib/backoff.js";
import { delay } from "../../../../lib/timer.js";
import { type Commit, EngineFault, type Write } from "../../../engine.js";
import type { Capacity } from "../capacity.js";
import { ConditionError } from "../errors.js";
import type { JetStreamSession } from "../session.js";
import { internalPrefix } from "../streams.js";
import {
  type CommitPlan,
  needsRead,
  type PlanContext,
  type PlannedWrite,
  planCommit,
  planWrites,
} from "./commit-plan.js";
import { removeEntry } from "./expiries.js";
import { KnownEntries, type KnownEntry } from "./known-entries.js";
import type { KeyReader } from "./reader.js";
import {
  CLEANUP_DELAY_MS,
  isOverdue,
  type KeySnapshot,
  presentEntry,
  type StoredEntry,
} from "./stored-entry.js";
import { type KnownVersion, Turns } from "./turns.js";

/** A commit whose conditions hold, but that another server was ahead of, tries again after this time. */
const CONTENTION: Backoff = { minMs: 2, maxMs: 100 };

/** The options of commits. */
export interface CommitOptions {
  reader: KeyReader;
  /** Called for every entry that was set or deleted, with its whole value. */
  onWritten: (entry: StoredEntry & { key: string }) => void;
  capacity: Capacity;
}

/** The commits of one server. One message, or one atomic batch, has conditions on the sequences of its keys' messages. */
export class Commits {
  readonly #session: JetStreamSession;
  readonly #options: CommitOptions;
  readonly #turns = new Turns();
  readonly #known = new KnownEntries();
  readonly #fence: string;

  constructor(session: JetStreamSession, options: CommitOptions) {
    this.#session = session;
    this.#options = options;
    this.#fence = `${internalPrefix(session.name)}f`;
  }

  async commit(asked: readonly Write[]): Promise<Commit> {
    const writes = planWrites(this.#session.name, asked);
    const [first] = writes;
    // Nothing can be false, so that it does not wait for others.
    if (
      writes.length === 1 &&
      first?.type === "set" &&
      first.ifVersion === undefined &&
      first.ttlMs !== "keep" &&
      this.#known.find(first.at.subject)?.expiresAtMs === undefined
    ) {
      return await this.#write(planCommit(writes, this.#context(undefined)));
    }
    if (writes.every(({ type }) => type === "check")) {
      const present = await this.#read(writes);
      return this.#conflictOf(asked, writes, present) ?? { version: BigInt(present.sequence) };
    }
    return await this.#commitInTurn(asked, writes);
  }

  /** Remembers an entry that was read. */
  learn(entry: StoredEntry): void {
    this.#known.learn(entry.subject, entry);
  }

  async #commitInTurn(asked: readonly Write[], writes: readonly PlannedWrite[]): Promise<Commit> {
    const subjects = writes.map(({ at }) => at.subject);
    const ifVersion = writes.length === 1 ? writes[0]?.ifVersion : undefined;
    for (;;) {
      const turn = await this.#turns.take(subjects, ifVersion);
      if (turn.type === "write") break;
      if (turn.type === "conflict") return { conflict: asked[0] as Write, actual: turn.actual };
      const conflict = this.#conflictOf(asked, writes, await this.#read(writes));
      if (conflict) return conflict;
    }
    const written = new Map<string, StoredEntry>();
    let hasConflicts = false;
    try {
      return await this.#commitAlone(asked, writes, written);
    } finally {
      const nowMs = this.#session.clock.now();
      hasConflicts = this.#turns.end(subjects, (subject) => this.#knownVersion(subject, written, nowMs));
      // The others go first, or the one that has written would be ahead of them each time.
      if (hasConflicts) await setImmediate();
    }
  }

  /** The version of a key after a commit that has written `written`. */
  #knownVersion(
    subject: string,
    written: ReadonlyMap<string, StoredEntry>,
    nowMs: number,
  ): KnownVersion | undefined {
    const stored = written.get(subject);
    if (stored) {
      const entry = presentEntry(stored, nowMs);
      return { version: entry?.version ?? 0n, isWritten: true, entry };
    }
    const version = this.#known.versionOf(subject, nowMs);
    return version === undefined ? undefined : { version, isWritten: false };
  }

  /** Commits while no other commit of this server writes the keys. */
  async #commitAlone(
    asked: readonly Write[],
    writes: readonly PlannedWrite[],
    written: Map<string, StoredEntry>,
  ): Promise<Commit> {
    const deadlineMs = performance.now() + this.#session.waitMs;
    let mustRead = false;
    for (let failures = 1; ; failures++) {
      let context = this.#context(undefined);
      mustRead ||= needsRead(writes, context);
      if (mustRead) {
        const present = await this.#read(writes);
        const conflict = this.#conflictOf(asked, writes, present);
        if (conflict) return conflict;
        context = this.#context(present);
      }
      try {
        context = await this.#removeOverdue(writes, context);
        const plan = planCommit(writes, context);
        if (plan.messages.length === 0) return { version: BigInt(context.sequence) };
        this.#turns.sent(writes.map(({ at }) => at.subject));
        return await this.#write(plan, { written, untilMs: this.#endOf(writes, context) });
      } catch (error) {
        if (!(error instanceof ConditionError)) throw error;
        if (performance.now() > deadlineMs) throw this.#contended(writes);
        for (const { at } of writes) this.#known.forget(at.subject);
        // Another server was ahead. The first time it has probably finished.
        if (mustRead) await delay(jitteredMs(CONTENTION, failures), this.#session.closing);
        mustRead = true;
      }
    }
  }

  /**
   * Deletes the entries that have expired and that `writes` would replace: nats-server's removal at the end of its
   * lifetime of an entry has no condition. It may be stored behind a write that replaces the entry, and undo it. Behind
   * a deletion it does no harm, and the write comes behind both.
   */
  async #removeOverdue(
    writes: readonly PlannedWrite[],
    context: PlanContext & { sequence: number },
  ): Promise<PlanContext & { sequence: number }> {
    const { present, nowMs } = context;
    const overdue = writes.flatMap(({ type, key, at }) => {
      const entry = type === "set" ? this.#replaced(at.subject, context) : undefined;
      return entry && isOverdue(entry, nowMs) ? [{ key, sequence: entry.sequence }] : [];
    });
    if (overdue.length === 0) return context;
    const removed = await Promise.all(overdue.map((entry) => removeEntry(this.#session, entry)));
    for (const entry of removed) {
      this.learn(entry);
      this.#options.onWritten(entry);
    }
    const later = removed.map((entry) => [entry.subject, entry] as const);
    return { ...context, present: present && new Map<string, StoredEntry>([...present, ...later]) };
  }

  /** When the attempts to write end, by performance.now(): before nats-server removes what is replaced. */
  #endOf(writes: readonly PlannedWrite[], context: PlanContext): number | undefined {
    const ends = writes.flatMap(({ type, at }) => {
      const entry = type === "check" ? undefined : this.#replaced(at.subject, context);
      return entry?.expiresAtMs === undefined || entry.isDeleted ? [] : [entry.expiresAtMs];
    });
    if (ends.length === 0) return undefined;
    const remainingMs = Math.min(...ends) + CLEANUP_DELAY_MS / 2 - this.#session.clock.now();
    return performance.now() + remainingMs;
  }

  /** The last message of the key, if it was read or is known. */
  #replaced(subject: string, { present }: PlanContext): KnownEntry | undefined {
    return present ? present.get(subject) : this.#known.find(subject);
  }

  /** The first condition that does not hold. */
  #conflictOf(
    asked: readonly Write[],
    writes: readonly PlannedWrite[],
    { entries }: KeySnapshot,
  ): Commit | undefined {
    const nowMs = this.#session.clock.now();
    for (const [i, { at, ifVersion }] of writes.entries()) {
      const actual = presentEntry(entries.get(at.subject), nowMs);
      if (ifVersion === undefined || ifVersion === (actual?.version ?? 0n)) continue;
      return { conflict: asked[i] as Write, actual };
    }
    return undefined;
  }

  async #write(
    plan: CommitPlan,
    { written, untilMs }: { written?: Map<string, StoredEntry>; untilMs?: number | undefined } = {},
  ): Promise<Commit> {
    const last = await this.#publish(plan, untilMs);
    const version = BigInt(last);
    for (const { distance, expiresAtMs, ...entry } of plan.entries) {
      const stored = { ...entry, sequence: last - distance, version, parts: 0, expiresAtMs };
      this.#known.learn(stored.subject, stored);
      written?.set(stored.subject, stored);
      this.#options.onWritten(stored);
    }
    return { version };
  }

  async #publish({ messages, entries }: CommitPlan, untilMs: number | undefined): Promise<number> {
    const [message] = messages;
    const bounds = { fence: this.#fence, ...(untilMs !== undefined && { untilMs }) };
    const publish = async () => {
      const { sequence } =
        message && messages.length === 1
          ? await this.#session.publish(message, bounds)
          : await this.#session.publishBatch(messages, bounds);
      return sequence;
    };
    // A commit that only deletes makes room.
    return entries.every(({ isDeleted }) => isDeleted)
      ? await publish()
      : await this.#options.capacity.admit(messages, publish);
  }

  async #read(writes: readonly PlannedWrite[]): Promise<KeySnapshot> {
    const snapshot = await this.#options.reader.read(writes.map(({ at }) => at.subject));
    for (const { at } of writes) {
      const entry = snapshot.entries.get(at.subject);
      if (entry) this.learn(entry);
    }
    return snapshot;
  }

  #context(present: KeySnapshot | undefined): PlanContext & { sequence: number } {
    return {
      sequence: present?.sequence ?? 0,
      engine: this.#session.name,
      nowMs: this.#session.clock.now(),
      maxPayload: this.#session.maxPayload,
      present: present?.entries,
      known: this.#known,
    };
  }

  #contended(writes: readonly PlannedWrite[]): EngineFault {
    return new EngineFault(
      "unavailable",
      `other servers wrote the same ${writes.length === 1 ? "key" : `${writes.length} keys`} all the time, ` +
        `for ${this.#session.waitMs} ms`,
    );
  }
}
