import { setImmediate } from "node:timers/promises";
import { type Backoff, jitteredMs } from "../../../../lib/backoff.js";
import { delay } from "../../../../lib/timer.js";
import { EngineFault } from "../../../engine.js";
import type { JetStreamSession } from "../session.js";
import { subjectPrefix } from "../streams.js";
import { Barrier } from "./barrier.js";
import { type DirectGet, DirectGets, type LastMessages } from "./direct-get.js";
import { type KeySnapshot, type StoredEntry, storedEntryOf } from "./stored-entry.js";
import { joinParts, partSubjects } from "./value-parts.js";

/** The most subjects of one request, and their most characters: nats-server refuses a payload above max_payload. */
const MAX_SUBJECTS = 500;
const MAX_SUBJECT_CHARS = 200_000;

/** A replica that has not come as far as the barrier is asked again at once: usually it lags by less than a request. */
const AT_ONCE = 3;
const STALE: Backoff = { minMs: 1, maxMs: 100 };

interface Read {
  subjects: readonly string[];
  resolve: (snapshot: KeySnapshot) => void;
  reject: (error: unknown) => void;
}

/**
 * Linearizable reads. Those that are asked for while a barrier is on its way share the next barrier, and the request
 * after it.
 */
export class KeyReader {
  readonly #session: JetStreamSession;
  readonly #root: string;
  readonly #barrier: Barrier;
  readonly #gets: DirectGets;
  #next: Read[] | undefined;
  #position = 0;
  /** Resolves when the barrier that is on its way has come back. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(session: JetStreamSession) {
    this.#session = session;
    this.#root = subjectPrefix(session.name, "keys");
    this.#barrier = new Barrier(session);
    this.#gets = new DirectGets(session, this.#barrier.subject);
  }

  /** A new barrier: see Barrier.write(). */
  async writeBarrier(): Promise<{ sequence: number; attempts: number }> {
    const written = await this.#barrier.write();
    this.#position = Math.max(this.#position, written.sequence);
    return written;
  }

  /** The sequence of the latest barrier: all that is known to be stored has this one or a lower one. */
  get position(): number {
    return this.#position;
  }

  /** The last messages of `subjects`, which have no wildcards, with whole values. */
  async read(subjects: readonly string[]): Promise<KeySnapshot> {
    const snapshot = await this.#readMessages(subjects);
    const parts = partSubjects(this.#session.name, snapshot.entries.values());
    return parts.length === 0 ? snapshot : await this.#readLarge(subjects, parts);
  }

  /**
   * All entries whose subjects match `filter`, of one moment, without the parts of large values. No entries if there are
   * too many for one response.
   */
  async readAll(filter: string): Promise<{ entries: StoredEntry[] | undefined; sequence: number }> {
    const { sequence } = await this.writeBarrier();
    const found = await this.#fresh((least) => this.#gets.last([filter], least), sequence);
    if (found === "too many" || found.isPartial) return { entries: undefined, sequence };
    return { entries: [...this.#entriesOf(found).values()], sequence };
  }

  #readMessages(subjects: readonly string[]): Promise<KeySnapshot> {
    return new Promise((resolve, reject) => {
      if (!this.#next) {
        this.#next = [];
        void this.#run();
      }
      this.#next.push({ subjects, resolve, reject });
    });
  }

  /** Reads again with the subjects of all parts, until they are of the same moment as their entries. */
  async #readLarge(subjects: readonly string[], firstParts: readonly string[]): Promise<KeySnapshot> {
    const deadlineMs = performance.now() + this.#session.waitMs;
    for (let parts = firstParts; ; ) {
      const snapshot = await this.#readMessages([...subjects, ...parts]);
      const needed = partSubjects(this.#session.name, snapshot.entries.values());
      const known = new Set(parts);
      if (needed.every((subject) => known.has(subject))) return joinParts(this.#session.name, snapshot);
      if (performance.now() > deadlineMs) throw this.#unsteady();
      parts = needed;
    }
  }

  async #run(): Promise<void> {
    await this.#turn;
    // Reads that the messages of the same moment lead to are for the same barrier.
    await setImmediate();
    const reads = this.#next ?? [];
    this.#next = undefined;
    try {
      const writing = this.writeBarrier();
      this.#turn = writing.catch(() => {});
      const { sequence } = await writing;
      for (const batch of batchesOf(reads)) void this.#readBatch(batch, sequence);
    } catch (error) {
      for (const { reject } of reads) reject(error);
    }
  }

  async #readBatch(reads: readonly Read[], sequence: number): Promise<void> {
    try {
      const subjects = [...new Set(reads.flatMap((read) => read.subjects))];
      const entries = await this.#readAtOnce(subjects, sequence);
      for (const { resolve } of reads) resolve({ entries, sequence });
    } catch (error) {
      for (const { reject } of reads) reject(error);
    }
  }

  /** The entries of one moment after the barrier `sequence`, with one request if their number allows. */
  async #readAtOnce(subjects: readonly string[], sequence: number): Promise<Map<string, StoredEntry>> {
    const chunks = chunksOf(subjects);
    const entries = new Map<string, StoredEntry>();
    if (chunks.length === 0) return entries;
    if (chunks.length === 1) {
      const found = await this.#fresh((least) => this.#gets.last(subjects, least), sequence);
      if (found !== "too many" && !found.isPartial) return this.#entriesOf(found);
    }
    await this.#readSteadily(chunks, sequence, entries);
    return entries;
  }

  /**
   * Reads chunk by chunk, and then, after a further barrier, what has changed in each chunk since it was read. If nothing
   * has, all of them were as they are at the moment of that barrier.
   */
  async #readSteadily(
    chunks: readonly (readonly string[])[],
    first: number,
    entries: Map<string, StoredEntry>,
  ): Promise<void> {
    const deadlineMs = performance.now() + this.#session.waitMs;
    const readUpTo = chunks.map(() => 0);
    let least = first;
    for (let isSteady = false; !isSteady; ) {
      const isFirst = least === first;
      isSteady = !isFirst;
      for (const [i, chunk] of chunks.entries()) {
        const { changes, upTo } = await this.#changesOf(chunk, least, readUpTo[i] ?? 0);
        readUpTo[i] = upTo;
        for (const [subject, entry] of changes) {
          if (entries.get(subject)?.sequence !== entry.sequence) isSteady = false;
          entries.set(subject, entry);
        }
      }
      if (!isSteady && !isFirst && performance.now() > deadlineMs) throw this.#unsteady();
      if (!isSteady) ({ sequence: least } = await this.#barrier.write());
    }
  }

  /** The last messages of a chunk with sequences above `after`, with further requests if a response is too large. */
  async #changesOf(
    chunk: readonly string[],
    least: number,
    after: number,
  ): Promise<{ changes: Map<string, StoredEntry>; upTo: number }> {
    const changes = new Map<string, StoredEntry>();
    let remaining: readonly string[] = chunk;
    let oldest = Number.POSITIVE_INFINITY;
    for (;;) {
      const asked = remaining;
      const found = await this.#fresh((least) => this.#gets.last(asked, least, after), least);
      if (found === "too many") throw new RangeError("a chunk has too many subjects");
      oldest = Math.min(oldest, found.upTo);
      const entries = this.#entriesOf(found);
      for (const [subject, entry] of entries) changes.set(subject, entry);
      if (!found.isPartial) return { changes, upTo: oldest };
      remaining = remaining.filter((subject) => !entries.has(subject));
    }
  }

  /** Asks until the replica that answers has the sequence `least`. */
  async #fresh(
    get: (least: number) => Promise<DirectGet>,
    least: number,
  ): Promise<LastMessages | "too many"> {
    const deadlineMs = performance.now() + this.#session.waitMs;
    for (let failures = 1; ; failures++) {
      const found = await get(least);
      if (found !== "stale") return found;
      this.#session.checkOpen();
      if (performance.now() > deadlineMs) {
        const message = `no replica that answers has caught up within ${this.#session.waitMs} ms`;
        throw new EngineFault("unavailable", message);
      }
      if (failures > AT_ONCE) await delay(jitteredMs(STALE, failures - AT_ONCE), this.#session.closing);
    }
  }

  #entriesOf({ messages }: LastMessages): Map<string, StoredEntry> {
    const entries = new Map<string, StoredEntry>();
    for (const [subject, { sequence, message }] of messages) {
      if (subject === this.#barrier.subject) continue;
      entries.set(subject, storedEntryOf(this.#root, subject, sequence, message));
    }
    return entries;
  }

  #unsteady(): EngineFault {
    return new EngineFault(
      "unavailable",
      `the keys were written so often that they could not be read at one moment within ${this.#session.waitMs} ms`,
    );
  }
}

/** Groups of reads that fit in one request. A read is not split, so that it is of one moment. */
function batchesOf(reads: readonly Read[]): Read[][] {
  const batches: Read[][] = [];
  let room = { subjects: 0, chars: 0 };
  for (const read of reads) {
    const chars = read.subjects.reduce((sum, subject) => sum + subject.length, 0);
    const fits = read.subjects.length <= room.subjects && chars <= room.chars;
    if (!fits) {
      batches.push([]);
      room = { subjects: MAX_SUBJECTS, chars: MAX_SUBJECT_CHARS };
    }
    batches.at(-1)?.push(read);
    room.subjects -= read.subjects.length;
    room.chars -= chars;
  }
  return batches;
}

/** The subjects in groups that fit in one request. */
function chunksOf(subjects: readonly string[]): string[][] {
  const chunks: string[][] = [];
  let chars = Number.POSITIVE_INFINITY;
  for (const subject of subjects) {
    if (chars + subject.length > MAX_SUBJECT_CHARS || (chunks.at(-1)?.length ?? 0) >= MAX_SUBJECTS) {
      chunks.push([]);
      chars = 0;
    }
    chunks.at(-1)?.push(subject);
    chars += subject.length;
  }
  return chunks;
}
