import { crc32 } from "node:zlib";
import type { LogRecord } from "../../engine.js";

/** A segment's header: the magic number and the salt of its checksums. */
export const SEGMENT_HEADER_BYTES = 16;
const SEGMENT_MAGIC = Buffer.from("FLLOGSG1");

/** A frame's header: magic number, length of the rest, checksum, first offset, timestamp, group, record count. */
export const FRAME_HEADER_BYTES = 40;
const MAGIC = 0x4c4f4742;

/** The header of a frame, which has the values of one append(). */
export type FrameHeader = {
  at: number;
  end: number;
  first: number;
  timestampMs: number;
  /** The position of the first frame of its group commit. */
  group: number;
  count: number;
};

export function encodeSegmentHeader(salt: number): Buffer {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  SEGMENT_MAGIC.copy(header);
  header.writeUInt32LE(salt, 8);
  return header;
}

/** The salt in a segment's header; undefined if the header is invalid. */
export const saltOf = (header: Buffer): number | undefined =>
  header.length === SEGMENT_HEADER_BYTES && header.subarray(0, 8).equals(SEGMENT_MAGIC)
    ? header.readUInt32LE(8)
    : undefined;

/** The size of a frame with these values. */
export const frameBytes = (values: readonly Uint8Array[]): number =>
  values.reduce((sum, value) => sum + 4 + value.length, FRAME_HEADER_BYTES);

/** Encodes these values into `frame`, which has the size of frameBytes(). */
export function encodeFrame(
  values: readonly Uint8Array[],
  { first, timestampMs, group }: { first: number; timestampMs: number; group: number },
  salt: number,
  frame: Buffer,
): Buffer {
  let at = FRAME_HEADER_BYTES;
  for (const value of values) at = frame.writeUInt32LE(value.length, at);
  for (const value of values) {
    frame.set(value, at);
    at += value.length;
  }
  frame.writeUInt32LE(MAGIC, 0);
  frame.writeUInt32LE(frame.length - FRAME_HEADER_BYTES, 4);
  frame.writeDoubleLE(first, 12);
  frame.writeDoubleLE(timestampMs, 20);
  frame.writeDoubleLE(group, 28);
  frame.writeUInt32LE(values.length, 36);
  frame.writeUInt32LE(crc32(frame.subarray(12), salt), 8);
  return frame;
}

/** The header of the frame at index `at` of `bytes`, which begin at `position` of the segment. */
export function frameHeaderAt(bytes: Buffer, at: number, position: number): FrameHeader | undefined {
  if (at + FRAME_HEADER_BYTES > bytes.length || bytes.readUInt32LE(at) !== MAGIC) return undefined;
  return {
    at: position + at,
    end: position + at + FRAME_HEADER_BYTES + bytes.readUInt32LE(at + 4),
    first: bytes.readDoubleLE(at + 12),
    timestampMs: bytes.readDoubleLE(at + 20),
    group: bytes.readDoubleLE(at + 28),
    count: bytes.readUInt32LE(at + 36),
  };
}

/** Whether the checksum of `frame` matches. */
export const isIntact = (frame: Buffer, salt: number): boolean =>
  crc32(frame.subarray(12), salt) === frame.readUInt32LE(8);

/** The records of an intact frame. */
export function recordsIn(frame: Buffer, { first, timestampMs, count }: FrameHeader): LogRecord[] {
  const records: LogRecord[] = [];
  let at = FRAME_HEADER_BYTES + 4 * count;
  for (let i = 0; i < count; i++) {
    const length = frame.readUInt32LE(FRAME_HEADER_BYTES + 4 * i);
    const value = new Uint8Array(frame.subarray(at, at + length));
    records.push({ offset: BigInt(first + i), timestampMs, value });
    at += length;
  }
  return records;
}

/** The header of the first intact frame after position `from` of a segment. */
export function findNextFrame(segment: Buffer, from: number, salt: number): FrameHeader | undefined {
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(MAGIC);
  for (let at = segment.indexOf(magic, from + 1); at >= 0; at = segment.indexOf(magic, at + 1)) {
    const head = frameHeaderAt(segment, at, 0);
    if (head && head.end <= segment.length && isIntact(segment.subarray(at, head.end), salt)) return head;
  }
  return undefined;
}
