import { FRAME_HEADER_BYTES, type FrameHeader, SEGMENT_HEADER_BYTES } from "./log-frame.js";
import type { LogWriter, Segment } from "./log-writer.js";
import { SegmentIndex, SegmentReader } from "./segment.js";

/** Finds offsets in the segments of a log: by binary search over the segments, then by the segment's sparse index. */
export class LogSearch {
  readonly #folder: string;
  readonly #writer: LogWriter;

  constructor(folder: string, writer: LogWriter) {
    this.#folder = folder;
    this.#writer = writer;
  }

  /** The offset of the first frame whose timestamp is not `isBefore`, which holds for a prefix of the log. */
  async offsetByTime(isBefore: (timestampMs: number) => boolean): Promise<number> {
    const { segments } = this.#writer;
    let low = 0;
    let high = segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const firstMs = await this.firstTimestamp(segments[middle] as Segment);
      if (firstMs !== undefined && isBefore(firstMs)) low = middle + 1;
      else high = middle;
    }
    const segment = segments[low - 1];
    if (!segment) return segments[0]?.base ?? this.#writer.next;
    const index = await this.#indexOf(segment);
    const at = index.floor((head) => isBefore(head.timestampMs));
    const frame = await this.#findFrame(segment, at, ({ timestampMs }) => !isBefore(timestampMs));
    return frame?.head.first ?? segments[low]?.base ?? this.#writer.next;
  }

  /** The offset of the first record after the oldest `bytes` of the log. */
  async offsetByBytes(bytes: number): Promise<number> {
    let remaining = bytes;
    for (const segment of this.#writer.segments) {
      const size = segment.end - SEGMENT_HEADER_BYTES;
      if (remaining >= size) {
        remaining -= size;
        continue;
      }
      const position = SEGMENT_HEADER_BYTES + remaining;
      const at = (await this.#indexOf(segment)).floor((head) => head.at <= position);
      const frame = await this.#findFrame(segment, at, ({ end }) => end > position);
      return frame ? firstRecordFrom(frame.head, frame.bytes, position) : this.#writer.next;
    }
    return this.#writer.next;
  }

  /** The segment that has, or would have, the record with `offset`. */
  segmentOf(offset: number): Segment {
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

  /** The position of the frame of `segment` that has the record with `offset`; undefined if no frame has it. */
  async positionOf(segment: Segment, offset: number, reader: SegmentReader): Promise<number | undefined> {
    const index = await this.#indexOf(segment);
    const from = index.floor(({ first }) => first <= offset);
    for await (const { at, first, count } of reader.heads(from, segment.end)) {
      if (first + count > offset) return at;
    }
    return undefined;
  }

  /** The timestamp of the segment's first record; undefined if it has none. */
  async firstTimestamp(segment: Segment): Promise<number | undefined> {
    if (segment.firstMs === undefined && segment.end > SEGMENT_HEADER_BYTES) {
      const frame = await this.#findFrame(segment, SEGMENT_HEADER_BYTES, () => true);
      segment.firstMs = frame?.head.timestampMs;
    }
    return segment.firstMs;
  }

  /** The first frame from position `at` on that matches. */
  async #findFrame(segment: Segment, at: number, matches: (head: FrameHeader) => boolean) {
    const reader = await SegmentReader.open(this.#folder, segment.base);
    if (!reader) return undefined;
    try {
      for await (const head of reader.heads(at, segment.end)) {
        if (!matches(head)) continue;
        const [frame] = await reader.frames(head.at, head.end);
        return frame;
      }
      return undefined;
    } finally {
      await reader.close();
    }
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
    this.#writer.evictIndexes(segment);
    return index;
  }
}

/** The first record of the frame that begins at `position` or after it. */
function firstRecordFrom({ at, first, count }: FrameHeader, frame: Buffer, position: number): number {
  let start = at + FRAME_HEADER_BYTES + 4 * count;
  for (let i = 0; i < count; i++) {
    // The frame's header and the record lengths count as part of the first record.
    if ((i === 0 ? at : start) >= position) return first + i;
    start += frame.readUInt32LE(FRAME_HEADER_BYTES + 4 * i);
  }
  return first + count;
}
