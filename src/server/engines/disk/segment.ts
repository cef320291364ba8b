import { open } from "node:fs/promises";
import { join } from "node:path";
import { DamageError } from "./errors.js";
import {
  FRAME_HEADER_BYTES,
  type FrameHeader,
  frameHeaderAt,
  isIntact,
  SEGMENT_HEADER_BYTES,
  saltOf,
} from "./log-frame.js";

/** The distance between the entries of an index. */
const INDEX_BYTES = 16 * 1024;

/** The size of one read. */
const READ_BYTES = 256 * 1024;

/** The file name of the segment whose first record has this offset. */
export const segmentName = (base: number): string => String(base).padStart(20, "0");

/** The first offsets of the segments among these file names, in order. */
export const segmentsIn = (names: readonly string[]): number[] =>
  names
    .filter((name) => /^\d{20}$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);

type IndexEntry = Pick<FrameHeader, "at" | "first" | "timestampMs">;

/** A sparse index of a segment: the positions of some of its frames, in order. */
export class SegmentIndex {
  readonly #heads: IndexEntry[] = [];
  #nextAt = 0;

  add({ at, first, timestampMs }: FrameHeader): void {
    if (at < this.#nextAt) return;
    this.#heads.push({ at, first, timestampMs });
    this.#nextAt = at + INDEX_BYTES;
  }

  /** The position of the last indexed frame for which `isBefore` holds; if none, that of the segment's first frame. */
  floor(isBefore: (head: IndexEntry) => boolean): number {
    let low = 0;
    let high = this.#heads.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isBefore(this.#heads[middle] as IndexEntry)) low = middle + 1;
      else high = middle;
    }
    return this.#heads[low - 1]?.at ?? SEGMENT_HEADER_BYTES;
  }
}

/** Reads the durable part of a segment. */
export class SegmentReader {
  readonly path: string;
  readonly #file: Awaited<ReturnType<typeof open>>;
  readonly salt: number;

  private constructor(path: string, file: Awaited<ReturnType<typeof open>>, salt: number) {
    this.path = path;
    this.#file = file;
    this.salt = salt;
  }

  /** Returns undefined if the segment no longer exists. Reads `salt` from the file if it is not given. */
  static async open(folder: string, base: number, salt?: number): Promise<SegmentReader | undefined> {
    const path = join(folder, segmentName(base));
    const file = await open(path, "r").catch((error: { code?: string }) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (!file) return undefined;
    if (salt !== undefined) return new SegmentReader(path, file, salt);
    try {
      const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
      const { bytesRead } = await file.read(header, 0, header.length, 0);
      const salt = bytesRead === header.length ? saltOf(header) : undefined;
      if (salt === undefined) throw new DamageError(path, "its segment header is invalid");
      return new SegmentReader(path, file, salt);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The headers of the frames from position `at` to `end`. Long values are skipped without reading them. */
  async *heads(at: number, end: number): AsyncGenerator<FrameHeader, void, undefined> {
    let bytes: Buffer = Buffer.alloc(0);
    let position = at;
    for (let next = at; next < end; ) {
      if (next + FRAME_HEADER_BYTES > position + bytes.length || next < position) {
        position = next;
        bytes = await this.#read(next, Math.min(READ_BYTES, end - next));
      }
      const head = frameHeaderAt(bytes, next - position, position);
      if (!head || head.end > end) throw new DamageError(this.path, `the frame at byte ${next} is broken`);
      yield head;
      next = head.end;
    }
  }

  /** The intact frames from position `at` to `end` that fit in one read, and at least one, if there is any. */
  async frames(at: number, end: number): Promise<{ head: FrameHeader; bytes: Buffer }[]> {
    let bytes = await this.#read(at, Math.min(READ_BYTES, end - at));
    const first = frameHeaderAt(bytes, 0, at);
    if (first && first.end - at > bytes.length && first.end <= end)
      bytes = await this.#read(at, first.end - at);
    const frames: { head: FrameHeader; bytes: Buffer }[] = [];
    for (let next = at; next < end; ) {
      const head = frameHeaderAt(bytes, next - at, at);
      if (frames.length > 0 && (!head || head.end > at + bytes.length) && next + FRAME_HEADER_BYTES <= end) {
        // The frame continues after this read. The next call reads it from its beginning.
        return frames;
      }
      const frame = head && bytes.subarray(next - at, head.end - at);
      if (!head || head.end > end || !frame || !isIntact(frame, this.salt)) {
        throw new DamageError(this.path, `the frame at byte ${next} is broken`);
      }
      frames.push({ head, bytes: frame });
      next = head.end;
    }
    return frames;
  }

  async size(): Promise<number> {
    return (await this.#file.stat()).size;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #read(position: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    for (let at = 0; at < length; ) {
      const { bytesRead } = await this.#file.read(bytes, at, length - at, position + at);
      if (bytesRead === 0) throw new DamageError(this.path, "it is cut short");
      at += bytesRead;
    }
    return bytes;
  }
}
