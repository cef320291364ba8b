import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { DamageError } from "./errors.js";
import type { Files, OpenFile } from "./files.js";
import {
  encodeFrame,
  encodeSegmentHeader,
  frameBytes,
  frameHeaderAt,
  SEGMENT_HEADER_BYTES,
} from "./log-frame.js";
import { readTail } from "./log-recovery.js";
import { SegmentIndex, SegmentReader, segmentName, segmentsIn } from "./segment.js";

/** How many segment indexes are kept in memory. */
const MAX_INDEXES = 4;

/** A segment of a log. */
export type Segment = {
  /** The offset of its first record, or of the next record if it has none. */
  base: number;
  /** Its durable bytes. */
  end: number;
  salt: number;
  /** The timestamp of its first record; undefined: not known, or no record. */
  firstMs: number | undefined;
  index: SegmentIndex | undefined;
};

/** The values of one append(); the writer sets `first`, the offset of the first of them. */
export type AppendItem = { values: readonly Uint8Array[]; nowMs: number; first: number };

export interface WriterOptions {
  segmentBytes: number;
  /** Called with each change of the size of the log's files. */
  onBytes: (change: number) => void;
}

/** The segments of a log. Writes go to the file of the last one. */
export class LogWriter {
  readonly #files: Files;
  readonly #folder: string;
  readonly #segmentBytes: number;
  readonly #onBytes: (change: number) => void;
  readonly segments: Segment[];
  #file: OpenFile | undefined;
  #failed: unknown;
  /** The offset of the next record. */
  next: number;
  /** The timestamp of the last record. */
  lastMs: number;

  private constructor(
    files: Files,
    folder: string,
    { segmentBytes, onBytes }: WriterOptions,
    segments: Segment[],
    next: number,
    lastMs: number,
  ) {
    this.#files = files;
    this.#folder = folder;
    this.#segmentBytes = segmentBytes;
    this.#onBytes = onBytes;
    this.segments = segments;
    this.next = next;
    this.lastMs = lastMs;
  }

  /** Creates the folder of an empty log. */
  static async create(files: Files, folder: string): Promise<void> {
    await files.mkdir(folder);
    await (await createSegment(files, folder, 1)).file.close();
    await files.syncFolder(join(folder, ".."));
  }

  /** Opens the log in `folder`, whose records before the offset `least` were all acknowledged. */
  static async open(
    files: Files,
    folder: string,
    { next: least, ...options }: WriterOptions & { next: number },
  ): Promise<LogWriter> {
    const bases = segmentsIn(await files.readdir(folder));
    const base = bases.pop();
    if (base === undefined) throw new DamageError(folder, "its segments are missing");
    const segments = await Promise.all(bases.map((sealed) => sealedSegment(folder, sealed)));
    const tail = await readTail(folder, base);
    const lastMs = tail?.lastMs ?? (await lastTimestamp(folder, segments.at(-1)));
    const next = tail?.next ?? base;
    if (next < least) {
      throw new DamageError(join(folder, segmentName(base)), `it ends at offset ${next} of ${least}`);
    }
    const writer = new LogWriter(files, folder, options, segments, next, lastMs);
    if (tail) {
      const { end, salt, firstMs, index, tornBytes } = tail;
      segments.push({ base, end, salt, firstMs, index });
      if (tornBytes > 0) {
        await writer.#truncateTo(end);
        options.onBytes(-tornBytes);
      }
    } else {
      await writer.roll();
    }
    return writer;
  }

  get #last(): Segment {
    return this.segments.at(-1) as Segment;
  }

  /** The bytes of all segments. */
  get bytes(): number {
    return this.segments.reduce((sum, { end }) => sum + end - SEGMENT_HEADER_BYTES, 0);
  }

  /** Resolves when all of `items` are durable. If it fails, none of them is written. */
  async write(items: AppendItem[]): Promise<void> {
    if (this.#failed) throw this.#failed;
    const bytes = items.reduce((sum, { values }) => sum + frameBytes(values), 0);
    if (this.#last.end > SEGMENT_HEADER_BYTES && this.#last.end + bytes > this.#segmentBytes)
      await this.roll();
    const segment = this.#last;
    const group = segment.end;
    const whole = Buffer.allocUnsafe(bytes);
    const frames: Buffer[] = [];
    let filled = 0;
    let next = this.next;
    let lastMs = this.lastMs;
    for (const item of items) {
      item.first = next;
      // Timestamps never go back within a log, even if the wall clock is set back.
      lastMs = Math.max(lastMs, item.nowMs);
      if (item.values.length === 0) continue;
      const room = whole.subarray(filled, (filled += frameBytes(item.values)));
      frames.push(encodeFrame(item.values, { first: next, timestampMs: lastMs, group }, segment.salt, room));
      next += item.values.length;
    }
    if (frames.length === 0) return;
    await this.#sync(whole.subarray(0, filled), segment);
    this.#onBytes(filled);
    this.next = next;
    this.lastMs = lastMs;
    segment.firstMs ??= frameHeaderAt(frames[0] as Buffer, 0, 0)?.timestampMs;
    for (const frame of frames) {
      const head = frameHeaderAt(frame, 0, segment.end);
      if (head) segment.index?.add(head);
      segment.end += frame.length;
    }
  }

  /** Begins a new segment. */
  async roll(): Promise<void> {
    const { file, salt } = await createSegment(this.#files, this.#folder, this.next);
    await this.#file?.close();
    this.#file = file;
    this.#onBytes(SEGMENT_HEADER_BYTES);
    const index = new SegmentIndex();
    this.segments.push({ base: this.next, end: SEGMENT_HEADER_BYTES, salt, firstMs: undefined, index });
    this.evictIndexes();
  }

  /** Evicts the indexes of old segments, but not that of `used`. */
  evictIndexes(used?: Segment): void {
    const known = this.segments.filter((segment) => segment.index && segment !== used);
    for (const segment of known.slice(0, -MAX_INDEXES)) segment.index = undefined;
  }

  /** Removes the oldest segment, which must not be the last one. */
  async removeOldest(): Promise<void> {
    const oldest = this.segments.shift();
    if (!oldest) return;
    this.#onBytes(-oldest.end);
    await this.#files.unlink(join(this.#folder, segmentName(oldest.base)));
  }

  /** Closes the file; the next write opens it again. */
  async closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #sync(bytes: Buffer, { base, end }: Segment): Promise<void> {
    this.#file ??= await this.#files.open(join(this.#folder, segmentName(base)), "r+");
    try {
      await this.#file.write(bytes, end);
    } catch (error) {
      await this.#file.truncate(end).catch(() => {
        this.#failed = error;
      });
      throw error;
    }
    try {
      await this.#file.sync();
    } catch (error) {
      // After a failed fsync the state of the pages is unknown: the log must be opened again before the next write.
      this.#failed = error;
      throw error;
    }
  }

  async #truncateTo(end: number): Promise<void> {
    this.#file = await this.#files.open(join(this.#folder, segmentName(this.#last.base)), "r+");
    await this.#file.truncate(end);
    await this.#file.sync();
  }
}

async function createSegment(
  files: Files,
  folder: string,
  base: number,
): Promise<{ file: OpenFile; salt: number }> {
  const salt = randomBytes(4).readUInt32LE();
  const file = await files.open(join(folder, segmentName(base)), "w+");
  try {
    await file.write(encodeSegmentHeader(salt), 0);
    await file.sync();
    await files.syncFolder(folder);
    return { file, salt };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function sealedSegment(folder: string, base: number): Promise<Segment> {
  const reader = await SegmentReader.open(folder, base);
  if (!reader) throw new DamageError(join(folder, segmentName(base)), "it is missing");
  try {
    return { base, end: await reader.size(), salt: reader.salt, firstMs: undefined, index: undefined };
  } finally {
    await reader.close();
  }
}

async function lastTimestamp(folder: string, segment: Segment | undefined): Promise<number> {
  const reader = segment && (await SegmentReader.open(folder, segment.base));
  if (!segment || !reader) return 0;
  try {
    let lastMs = 0;
    for await (const { timestampMs } of reader.heads(SEGMENT_HEADER_BYTES, segment.end)) lastMs = timestampMs;
    return lastMs;
  } finally {
    await reader.close();
  }
}
