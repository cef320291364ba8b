import { delay } from "../../../../lib/timer.js";
import { EngineFault } from "../../../engine.js";
import { ApiResponseError } from "../errors.js";
import type { JetStreamSession } from "../session.js";
import { streamName } from "../streams.js";
import type { KeyReader } from "./reader.js";
import type { StoredEntry } from "./stored-entry.js";
import { SubjectNames } from "./subject-names.js";
import { partsPrefix } from "./value-parts.js";

/** Each server sweeps about this often. */
const SWEEP_MS = 600_000;

/**
 * Removes the parts of large values that were deleted or replaced by smaller ones. A commit does not do so, as it does
 * not know what it replaces.
 */
export class PartSweeper {
  readonly #session: JetStreamSession;
  readonly #reader: KeyReader;
  readonly #names: SubjectNames;
  readonly #closing = new AbortController();
  readonly #sweeping: Promise<void>;

  constructor(session: JetStreamSession, reader: KeyReader) {
    this.#session = session;
    this.#reader = reader;
    this.#names = new SubjectNames(session);
    this.#sweeping = this.#run();
  }

  /** Removes all parts that are of no value now. */
  async sweep(): Promise<void> {
    const { sequence } = await this.#reader.writeBarrier();
    const subjects = await this.#names.find(`${partsPrefix(this.#session.name)}>`, sequence);
    for (const group of groupsOf(subjects)) {
      if (this.#closing.signal.aborted) return;
      await this.#sweepGroup(group);
    }
  }

  /** Stops, and waits for what is under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#sweeping;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      // At different times for different servers.
      await delay(SWEEP_MS * (0.5 + Math.random()), signal);
      if (signal.aborted) return;
      try {
        await this.sweep();
      } catch (error) {
        if (!(error instanceof EngineFault) && !(error instanceof ApiResponseError)) throw error;
        this.#session.log.warn(
          { err: error },
          "parts of large values that were replaced are not removed yet",
        );
      }
    }
  }

  /** Removes the parts of one key that its value does not have, as it was when it was read together with them. */
  async #sweepGroup(subjects: readonly string[]): Promise<void> {
    const first = (await this.#reader.read(subjects)).entries;
    const [owner] = [...first.values()].flatMap(({ partOf }) => partOf ?? []);
    if (owner === undefined) return;
    const { entries } = await this.#reader.read([owner, ...subjects]);
    const count = countOf(entries.get(owner));
    for (const subject of subjects) {
      const part = entries.get(subject);
      if (part === undefined || Number(subject.slice(subject.lastIndexOf(".") + 1)) < count) continue;
      // A part that is written meanwhile has a higher sequence, and stays.
      const purge = { filter: subject, seq: part.sequence + 1 };
      await this.#session.api(`STREAM.PURGE.${streamName(this.#session.name, "keys")}`, purge);
    }
  }
}

/** The parts of the entry's value. An expired entry has them until it is deleted. */
const countOf = (entry: StoredEntry | undefined): number => (!entry || entry.isDeleted ? 0 : entry.parts);

/** The subjects of the parts of each key. */
function groupsOf(subjects: readonly string[]): string[][] {
  const groups = new Map<string, string[]>();
  for (const subject of subjects) {
    const name = subject.slice(0, subject.lastIndexOf("."));
    const group = groups.get(name);
    if (group) group.push(subject);
    else groups.set(name, [subject]);
  }
  return [...groups.values()];
}
