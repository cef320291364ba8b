import { join } from "node:path";
import type { LogRecord } from "../../engine.js";
import type { Clock } from "../shared/clock.js";
import { DamageError } from "./errors.js";
import type { Files } from "./files.js";
import { GroupCommit } from "./group-commit.js";
import { recordsIn, SEGMENT_HEADER_BYTES } from "./log-frame.js";
import { LogSearch } from "./log-search.js";
import type { LogSettings } from "./log-settings.js";
import { type AppendItem, LogWriter, type Segment, type WriterOptions } from "./log-writer.js";
import { SegmentReader, segmentName } from "./segment.js";

export interface DiskLogOptions extends WriterOptions {
  clock: Clock;
  /** While `count` is above 0, no segment is removed. */
  pins: { count: number };
}

/** A reader's position in a log: the next frame. */
type Position = { segment: Segment; at: number; next: number };

/** One log: a folder of segments. Offsets are numbers in this file, as no log exceeds them. */
export class DiskLog {
  readonly settings: LogSettings;
  readonly #folder: string;
  readonly #writer: LogWriter;
  readonly #search: LogSearch;
  readonly #clock: Clock;
  readonly #pins: { count: number };
  readonly #commits = new GroupCommit<AppendItem>((items) => this.#write(items));
  readonly #waiting = new Set<() => void>();
  #isWriting = false;
  #closed = false;

  private constructor(
    folder: string,
    settings: LogSettings,
    writer: LogWriter,
    { clock, pins }: Pick<DiskLogOptions, "clock" | "pins">,
  ) {
    this.#folder = folder;
    this.settings = settings;
    this.#writer = writer;
    this.#search = new LogSearch(folder, writer);
    this.#clock = clock;
    this.#pins = pins;
    settings.first = Math.max(settings.first, this.#oldest.base);
  }

  static async open(
    files: Files,
    folder: string,
    settings: LogSettings,
    options: DiskLogOptions,
  ): Promise<DiskLog> {
    const { segmentBytes, onBytes } = options;
    const writer = await LogWriter.open(files, folder, { segmentBytes, onBytes, next: settings.next ?? 1 });
    return new DiskLog(folder, settings, writer, options);
  }

  /** The offset of the next record. */
  get next(): number {
    return this.#writer.next;
  }

  /** The names of the segments and the durable bytes of each, for a backup. */
  get extent(): { name: string; end: number }[] {
    return this.#writer.segments.map(({ base, end }) => ({ name: segmentName(base), end }));
  }

  get #oldest(): Segment {
    return this.#writer.segments[0] as Segment;
  }

  async append(values: readonly Uint8Array[]): Promise<{ first: number; last: number }> {
    const item: AppendItem = { values, nowMs: this.#clock.wall(), first: 0 };
    const bytes = values.reduce((sum, { length }) => sum + length, 0);
    await this.#commits.add(item, bytes);
    return { first: item.first, last: item.first + values.length - 1 };
  }

  /** The offset of the oldest record that is currently retained. */
  async first(): Promise<number> {
    const { maxAgeMs, maxBytes, maxRecords } = this.settings.retention ?? {};
    let first = Math.max(this.settings.first, this.#oldest.base);
    if (maxRecords !== undefined) first = Math.max(first, this.next - maxRecords);
    const excess = maxBytes === undefined ? 0 : this.#writer.bytes - maxBytes;
    if (excess > 0) first = Math.max(first, await this.#search.offsetByBytes(excess));
    if (maxAgeMs !== undefined) {
      const tooOldMs = this.#clock.wallBefore(maxAgeMs);
      first = Math.max(first, await this.#search.offsetByTime((timestampMs) => timestampMs <= tooOldMs));
    }
    this.settings.first = Math.max(this.settings.first, Math.min(first, this.next));
    return this.settings.first;
  }

  /** The offset of the first record with this timestamp or a later one. */
  async seek(timestampMs: number): Promise<number> {
    const offset = await this.#search.offsetByTime((time) => time < timestampMs);
    return Math.max(offset, await this.first());
  }

  /** Frees the space of records that are no longer retained, in whole segments. */
  async trim(): Promise<void> {
    await this.#commits.add({ values: [], nowMs: 0, first: 0 }, 0);
  }

  /** Batches of at most `most` records, from the offset `from` on. */
  async *read(
    from: number,
    { follow, signal, most }: { follow: boolean; signal: AbortSignal; most: number },
  ): AsyncGenerator<LogRecord[], void, undefined> {
    let position: Position | undefined;
    for (let next = from; !signal.aborted && !this.#closed; ) {
      next = Math.max(next, await this.first());
      if (next >= this.next) {
        if (!follow) return;
        await this.#nextAppend(signal);
        continue;
      }
      const read = await this.#readFrames(next, position);
      if (!read) continue;
      position = read.position;
      for (const { head, bytes } of read.frames) {
        const skipped = Math.max(0, next - head.first);
        const records = recordsIn(bytes, head).slice(skipped);
        for (let i = 0; i < records.length; i += most) {
          if (signal.aborted || this.#closed) return;
          yield records.slice(i, i + most);
        }
        next = Math.max(next, head.first + head.count);
      }
    }
  }

  /** Closes the file, unless a write is under way. The next write opens it again. */
  async closeFile(): Promise<void> {
    if (!this.#isWriting) await this.#writer.closeFile();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.#commits.settled();
    await this.#writer.closeFile();
  }

  async #write(items: AppendItem[]): Promise<void> {
    this.#isWriting = true;
    try {
      await this.#writer.write(items);
      // If a segment cannot be removed now, the next commit tries again.
      await this.#removeSegments().catch(() => {});
    } finally {
      this.#isWriting = false;
    }
    if (items.some(({ values }) => values.length > 0)) this.#wake();
  }

  /** Removes the oldest segments without retained records, and rolls the last one if all its records are too old. */
  async #removeSegments(): Promise<void> {
    if (this.#pins.count > 0) return;
    const { maxAgeMs, maxBytes, maxRecords } = this.settings.retention ?? {};
    const writer = this.#writer;
    const tooOldMs = maxAgeMs === undefined ? Number.NEGATIVE_INFINITY : this.#clock.wallBefore(maxAgeMs);
    const last = writer.segments.at(-1) as Segment;
    if (last.end > SEGMENT_HEADER_BYTES && writer.lastMs <= tooOldMs) await writer.roll();
    for (let [oldest, second] = writer.segments; oldest && second; [oldest, second] = writer.segments) {
      const secondMs = (await this.#search.firstTimestamp(second)) ?? writer.lastMs;
      const isExpired =
        second.base <= this.settings.first ||
        secondMs <= tooOldMs ||
        (maxRecords !== undefined && second.base <= writer.next - maxRecords) ||
        (maxBytes !== undefined && writer.bytes - oldest.end >= maxBytes);
      if (!isExpired) return;
      this.settings.first = Math.max(this.settings.first, second.base);
      await writer.removeOldest();
    }
  }

  /**
   * Some frames, from the one that has `offset` on; undefined if that is no longer retained. The file is closed before
   * this returns, so that a slow reader does not keep it open.
   */
  async #readFrames(offset: number, last: Position | undefined) {
    const segment = this.#search.segmentOf(offset);
    const reader = await SegmentReader.open(this.#folder, segment.base, segment.salt);
    if (!reader) {
      if (!this.#writer.segments.includes(segment)) return undefined;
      throw new DamageError(join(this.#folder, segmentName(segment.base)), "it is missing");
    }
    try {
      const isNext = last?.segment === segment && last.next === offset;
      const at = isNext ? last.at : await this.#search.positionOf(segment, offset, reader);
      if (at === undefined) throw new DamageError(reader.path, `offset ${offset} is missing`);
      const frames = at < segment.end ? await reader.frames(at, segment.end) : [];
      const end = frames.at(-1)?.head;
      if (!end) throw new DamageError(reader.path, `it ends before offset ${offset}`);
      return { frames, position: { segment, at: end.end, next: end.first + end.count } };
    } finally {
      await reader.close();
    }
  }

  /** Resolves at the next append, on close(), or when `signal` aborts. */
  #nextAppend(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      if (signal.aborted || this.#closed) return resolve();
      this.#waiting.add(done);
      signal.addEventListener("abort", done, { once: true });
    });
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}
