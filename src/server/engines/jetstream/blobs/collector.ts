import { fromUtf8, utf8 } from "../../../../lib/utf8.js";
import type { StoredMessage } from "../direct-get.js";
import { ConditionError } from "../errors.js";
import type { JetStreamSession } from "../session.js";
import { ROLLUP, type StreamReader } from "../stream-reader.js";
import type { BlobSubjects } from "./subjects.js";
import type { BlobTiming } from "./timing.js";
import type { UploadState } from "./upload.js";

const PAGE_MESSAGES = 1000;
const PAGE_BYTES = 256 * 1024;

export interface CollectorOptions {
  session: JetStreamSession;
  reader: StreamReader;
  subjects: BlobSubjects;
  timing: BlobTiming;
}

/** A note, as this server has seen it: it is the same since `sinceMs` of performance.now(). */
interface SeenNote {
  sequence: number;
  sinceMs: number;
  data: Uint8Array;
}

/**
 * Removes contents that no blob has: those that were replaced or deleted, when nobody reads them any more, and those of
 * uploads whose server has failed. Every server does it; no clock of another machine counts, as a note has lapsed when
 * this server has seen it unchanged for long enough.
 */
export class ContentCollector {
  readonly #options: CollectorOptions;
  #notes = new Map<string, SeenNote>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#schedule();
  }

  /** Stops, and resolves when no sweep is under way. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }

  #schedule(): void {
    // Random, so that the servers do not sweep at the same time.
    const delayMs = this.#options.timing.sweepMs * (0.5 + Math.random());
    this.#timer = setTimeout(() => {
      this.#running = this.#sweep().finally(() => {
        if (this.#timer) this.#schedule();
      });
    }, delayMs);
    this.#timer.unref();
  }

  async #sweep(): Promise<void> {
    try {
      await this.#look();
      for (const [subject, note] of this.#notes) {
        if (!this.#timer) return;
        if (this.#hasLapsed(note)) await this.#collect(subject, note);
      }
    } catch (err) {
      if (!this.#timer) return;
      this.#options.session.log.warn(
        { err },
        "removed contents of blobs still take space, and will be freed later",
      );
    }
  }

  /** Reads all notes, and keeps since when each of them is the same. */
  async #look(): Promise<void> {
    const { reader, subjects } = this.#options;
    const notes = new Map<string, SeenNote>();
    let page: StoredMessage[];
    for (let from = 1; ; from = (page.at(-1)?.sequence ?? 0) + 1) {
      page = await reader.next(`${subjects.notes}>`, from, PAGE_MESSAGES, PAGE_BYTES);
      if (page.length === 0) break;
      for (const { subject, sequence, data } of page) {
        const seen = this.#notes.get(subject);
        const sinceMs = seen?.sequence === sequence ? seen.sinceMs : performance.now();
        notes.set(subject, { sequence, sinceMs, data });
      }
    }
    this.#notes = notes;
  }

  #hasLapsed({ sinceMs }: SeenNote): boolean {
    return performance.now() - sinceMs >= this.#options.timing.lapseMs;
  }

  async #collect(subject: string, note: SeenNote): Promise<void> {
    const { reader, subjects } = this.#options;
    const [kind, content = ""] = subject.slice(subjects.notes.length).split(".");
    if (kind === "reading") return;
    if (kind === "removal" && (await this.#isRead(content))) return;
    if (kind === "upload") {
      const state = fromUtf8(note.data) as UploadState;
      // The metadata was stored with the note. The cluster removes the note.
      if (state === "stored") return;
      if (state === "open") {
        if (!(await this.#abandon(subject, note.sequence))) return;
        // The note stays until the next lapse: a chunk that was sent before may still come.
        await reader.purge(subjects.chunks(content));
        return;
      }
    }
    await reader.purge(subjects.chunks(content));
    await reader.purge(subject, note.sequence + 1);
  }

  /** Whether a server reads the content: it has repeated its note since this server has seen it lapse. */
  async #isRead(content: string): Promise<boolean> {
    const { reader, subjects } = this.#options;
    const notes = await reader.latest([subjects.reading(content, "*")]);
    return [...notes.values()].some(({ subject, sequence }) => {
      if (!subject.startsWith(subjects.reading(content, ""))) return false;
      const seen = this.#notes.get(subject);
      return seen?.sequence !== sequence || !this.#hasLapsed(seen);
    });
  }

  /** Takes over an upload whose server has failed, so that it cannot store its blob any more. */
  async #abandon(subject: string, sequence: number): Promise<boolean> {
    const condition = ["Nats-Expected-Last-Subject-Sequence", String(sequence)] as const;
    const state: UploadState = "abandoned";
    try {
      await this.#options.session.publish({ subject, data: utf8(state), headers: [...ROLLUP, condition] });
      return true;
    } catch (error) {
      if (error instanceof ConditionError) return false;
      throw error;
    }
  }
}
