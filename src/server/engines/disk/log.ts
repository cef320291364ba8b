import { join } from "node:path";
import type { LogRecord, Retention } from "../../engine.js";
import type { Clock } from "../shared/clock.js";
import { DamageError } from "./errors.js";
import type { Files } from "./files.js";
import { GroupCommit } from "./group-commit.js";
import { FRAME_HEADER_BYTES, type FrameHeader, recordsIn, SEGMENT_HEADER_BYTES } from "./log-frame.js";
import { type AppendItem, LogWriter, type Segment, type WriterOptions } from "./log-writer.js";
import { SegmentIndex, SegmentReader, segmentName } from "./segment.js";

/** What the tree keeps of a log. */
export type LogSettings = {
  id: string;
  first: number;
  retention: Retention | undefined;
  /** The offset that the next record was to get when this was written. */
  next?: number;
};

/** Where a reader has come to. */
type Place = { segment: Segment; at: number; next: number };

/** One log: a folder of segments. Offsets are numbers in here: no log outgrows them. */
export class DiskLog {
  readonly settings: LogSettings;
  readonly #folder: string;
  readonly #writer: LogWriter;
  readonly #clock: Clock;
  readonly #keep: { pins: number };
  readonly #groups = new GroupCommit<AppendItem>((items) => this.#write(items));
  readonly #waiting = new Set<() => void>();
  #writing = false;
  #closed = false;

  private constructor(
    folder: string,
    settings: LogSettings,
    writer: LogWriter,
    { clock, keep }: { clock: Clock; keep: { pins: number } },
  ) {
    this.#folder = folder;
    this.settings = settings;
    this.#writer = writer;
    this.#clock = clock;
    this.#keep = keep;
    settings.first = Math.max(settings.first, this.#oldest.base);
  }

  static async open(
    files: Files,
    folder: string,
    settings: LogSettings,
    options: WriterOptions & { clock: Clock; keep: { pins: number } },
  ): Promise<DiskLog> {
    const { segmentBytes, onBytes } = options;
    const writer = await LogWriter.open(files, folder, { segmentBytes, onBytes, next: settings.next ?? 1 });
    return new DiskLog(folder, settings, writer, options);
  }

  get next(): number {
    return this.#writer.next;
  }

  /** The segments' names and how much of each is durable: for a backup. */
  get extent(): { name: string; end: number }[] {
    return this.#writer.segments.map(({ base, end }) => ({ name: segmentName(base), end }));
  }

  get #oldest(): Segment {
    return this.#writer.segments[0] as Segment;
  }

  async append(values: readonly Uint8Array[]): Promise<{ first: number; last: number }> {
    const item: AppendItem = { values, nowMs: this.#clock.wall(), first: 0 };
    const bytes = values.reduce((sum, { length }) => sum + length, 0);
    await this.#groups.add(item, bytes);
    return { first: item.first, last: item.first + values.length - 1 };
  }

  /** The offset of the oldest record that is retained now. */
  async first(): Promise<number> {
    const { maxAgeMs, maxBytes, maxRecords } = this.settings.retention ?? {};
    let first = Math.max(this.settings.first, this.#oldest.base);
    if (maxRecords !== undefined) first = Math.max(first, this.next - maxRecords);
    const excess = maxBytes === undefined ? 0 : this.#writer.bytes - maxBytes;
    if (excess > 0) first = Math.max(first, await this.#offsetBehind(excess));
    if (maxAgeMs !== undefined) {
      const tooOldMs = this.#clock.wallBefore(maxAgeMs);
      first = Math.max(first, await this.#offsetFrom((timestampMs) => timestampMs <= tooOldMs));
    }
    this.settings.first = Math.max(this.settings.first, Math.min(first, this.next));
    return this.settings.first;
  }

  /** The offset of the first record with this timestamp or a later one. */
  async seek(timestampMs: number): Promise<number> {
    const found = await this.#offsetFrom((time) => time < timestampMs);
    return Math.max(found, await this.first());
  }

  /** Gives back the space of what is not retained any more: whole segments. */
  async trim(): Promise<void> {
    await this.#groups.add({ values: [], nowMs: 0, first: 0 }, 0);
  }

  /** Batches of at most `most` records from `from` on. */
  async *read(
    from: number,
    { follow, signal, most }: { follow: boolean; signal: AbortSignal; most: number },
  ): AsyncGenerator<LogRecord[], void, undefined> {
    let place: Place | undefined;
    for (let next = from; !signal.aborted && !this.#closed; ) {
      next = Math.max(next, await this.first());
      if (next >= this.next) {
        if (!follow) return;
        await this.#grown(signal);
        continue;
      }
      const read = await this.#readAt(next, place);
      if (!read) continue;
      place = read.place;
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

  /** Closes the file, unless it is being written to. */
  async park(): Promise<void> {
    if (!this.#writing) await this.#writer.park();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.#groups.settled();
    await this.#writer.park();
  }

  async #write(items: AppendItem[]): Promise<void> {
    this.#writing = true;
    try {
      await this.#writer.write(items);
      // What could not be removed now is tried again with the next group.
      await this.#trim().catch(() => {});
    } finally {
      this.#writing = false;
    }
    if (items.some(({ values }) => values.length > 0)) this.#wake();
  }

  async #trim(): Promise<void> {
    if (this.#keep.pins > 0) return;
    const { maxAgeMs, maxBytes, maxRecords } = this.settings.retention ?? {};
    const writer = this.#writer;
    const tooOldMs = maxAgeMs === undefined ? Number.NEGATIVE_INFINITY : this.#clock.wallBefore(maxAgeMs);
    const last = writer.segments.at(-1) as Segment;
    if (last.end > SEGMENT_HEADER_BYTES && writer.lastMs <= tooOldMs) await writer.roll();
    for (let [oldest, behind] = writer.segments; oldest && behind; [oldest, behind] = writer.segments) {
      const behindMs = (await this.#firstMs(behind)) ?? writer.lastMs;
      const isOut =
        behind.base <= this.settings.first ||
        behindMs <= tooOldMs ||
        (maxRecords !== undefined && behind.base <= writer.next - maxRecords) ||
        (maxBytes !== undefined && writer.bytes - oldest.end >= maxBytes);
      if (!isOut) return;
      this.settings.first = Math.max(this.settings.first, behind.base);
      await writer.drop();
    }
  }

  /** Every record in front of this offset has a time of which `isBefore` holds. */
  async #offsetFrom(isBefore: (timestampMs: number) => boolean): Promise<number> {
    const { segments } = this.#writer;
    let low = 0;
    let high = segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const firstMs = await this.#firstMs(segments[middle] as Segment);
      if (firstMs !== undefined && isBefore(firstMs)) low = middle + 1;
      else high = middle;
    }
    const segment = segments[low - 1];
    if (!segment) return segments[0]?.base ?? this.next;
    const index = await this.#indexOf(segment);
    const at = index.before((head) => isBefore(head.timestampMs));
    const found = await this.#walk(segment, at, ({ timestampMs }) => !isBefore(timestampMs));
    return found?.head.first ?? segments[low]?.base ?? this.next;
  }

  /** The offset of the first record that stands behind the oldest `bytes`. */
  async #offsetBehind(bytes: number): Promise<number> {
    let left = bytes;
    for (const segment of this.#writer.segments) {
      const size = segment.end - SEGMENT_HEADER_BYTES;
      if (left >= size) {
        left -= size;
        continue;
      }
      const position = SEGMENT_HEADER_BYTES + left;
      const at = (await this.#indexOf(segment)).before((head) => head.at <= position);
      const found = await this.#walk(segment, at, ({ end }) => end > position);
      return found ? firstBehind(found.head, found.bytes, position) : this.next;
    }
    return this.next;
  }

  /** The first frame from the one at `at` on that `is` holds of. */
  async #walk(segment: Segment, at: number, is: (head: FrameHeader) => boolean) {
    const reader = await SegmentReader.open(this.#folder, segment.base);
    if (!reader) return undefined;
    try {
      for await (const head of reader.heads(at, segment.end)) {
        if (!is(head)) continue;
        const [frame] = await reader.frames(head.at, head.end);
        return frame;
      }
      return undefined;
    } finally {
      await reader.close();
    }
  }

  /**
   * Some frames from the one on that has `offset`; undefined where that is not retained any more. No file stays open
   * while a reader takes its time.
   */
  async #readAt(offset: number, last: Place | undefined) {
    const segment = this.#segmentOf(offset);
    const reader = await SegmentReader.open(this.#folder, segment.base, segment.salt);
    if (!reader) {
      if (!this.#writer.segments.includes(segment)) return undefined;
      throw new DamageError(join(this.#folder, segmentName(segment.base)), "it is missing");
    }
    try {
      const isNext = last?.segment === segment && last.next === offset;
      const at = isNext ? last.at : await this.#placeOf(segment, offset, reader);
      const frames = at < segment.end ? await reader.frames(at, segment.end) : [];
      const end = frames.at(-1)?.head;
      if (!end) throw new DamageError(reader.path, `it ends before offset ${offset}`);
      return { frames, place: { segment, at: end.end, next: end.first + end.count } };
    } finally {
      await reader.close();
    }
  }

  async #placeOf(segment: Segment, offset: number, reader: SegmentReader): Promise<number> {
    const index = await this.#indexOf(segment);
    const from = index.before(({ first }) => first <= offset);
    for await (const { at, first, count } of reader.heads(from, segment.end)) {
      if (first + count > offset) return at;
    }
    throw new DamageError(reader.path, `offset ${offset} is missing`);
  }

  #segmentOf(offset: number): Segment {
    const { segments } = this.#writer;
    let low = 0;
    let high = segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((segments[middle] as Segment).base <= offset) low = middle + 1;
      else high = middle;
    }
    return segments[Math.max(0, low - 1)] as Segment;
  }

  async #firstMs(segment: Segment): Promise<number | undefined> {
    if (segment.firstMs === undefined && segment.end > SEGMENT_HEADER_BYTES) {
      segment.firstMs = (await this.#walk(segment, SEGMENT_HEADER_BYTES, () => true))?.head.timestampMs;
    }
    return segment.firstMs;
  }

  async #indexOf(segment: Segment): Promise<SegmentIndex> {
    if (segment.index) return segment.index;
    const index = new SegmentIndex();
    const reader = await SegmentReader.open(this.#folder, segment.base);
    if (!reader) return index;
    try {
      for await (const head of reader.heads(SEGMENT_HEADER_BYTES, segment.end)) index.add(head);
    } finally {
      await reader.close();
    }
    segment.index = index;
    this.#writer.forgetIndexes(segment);
    return index;
  }

  #grown(signal: AbortSignal): Promise<void> {
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

/** The first record of the frame that begins at `position` or behind it. */
function firstBehind({ at, first, count }: FrameHeader, frame: Buffer, position: number): number {
  let start = at + FRAME_HEADER_BYTES + 4 * count;
  for (let i = 0; i < count; i++) {
    // The heads of the records count for the first of them.
    if ((i === 0 ? at : start) >= position) return first + i;
    start += frame.readUInt32LE(FRAME_HEADER_BYTES + 4 * i);
  }
  return first + count;
}
