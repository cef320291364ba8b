import { crc32 } from "node:zlib";

/** One change of the tree: what `key` is from now on, or that it is no more. */
export type Op = { key: string; value: Buffer | undefined };

/** What is written and synced at a time: the ops of a group of callers, all or none of them. */
export type Frame = { sequence: number; counter: bigint; ops: Op[] };

/** Magic, length of the payload, checksum, and the number of the frame: that goes on from file to file. */
const FRAME_HEADER_BYTES = 20;
const MAGIC = 0x4652414d;

/** Stands for the length of a value where the key is deleted. */
const DELETED = 0xffff_ffff;

/** The bytes that `op` takes in a frame. */
export const opBytes = ({ key, value }: Op): number => 8 + Buffer.byteLength(key) + (value?.length ?? 0);

/** The bytes of a frame with these ops. */
export const frameBytes = (ops: readonly Op[]): number =>
  ops.reduce((sum, op) => sum + opBytes(op), FRAME_HEADER_BYTES + 8);

/**
 * Puts the frame into `frame`, which has just its size. `salt` is the file's own: what an older file or a value has
 * looked like is no frame of this one.
 */
export function encodeFrame({ sequence, counter, ops }: Frame, salt: number, frame: Buffer): Buffer {
  let at = frame.writeBigUInt64LE(counter, FRAME_HEADER_BYTES);
  for (const { key, value } of ops) {
    const keyBytes = frame.write(key, at + 8);
    frame.writeUInt32LE(keyBytes, at);
    frame.writeUInt32LE(value ? value.length : DELETED, at + 4);
    at += 8 + keyBytes;
    if (!value) continue;
    frame.set(value, at);
    at += value.length;
  }
  frame.writeUInt32LE(MAGIC, 0);
  frame.writeUInt32LE(frame.length - FRAME_HEADER_BYTES, 4);
  frame.writeDoubleLE(sequence, 12);
  frame.writeUInt32LE(crc32(frame.subarray(12), salt), 8);
  return frame;
}

/** The frame that begins at `at`, and where it ends; undefined where there is no whole one. */
export function decodeFrame(
  file: Buffer,
  at: number,
  salt: number,
): { frame: Frame; end: number } | undefined {
  if (at + FRAME_HEADER_BYTES > file.length || file.readUInt32LE(at) !== MAGIC) return undefined;
  const end = at + FRAME_HEADER_BYTES + file.readUInt32LE(at + 4);
  if (end > file.length || crc32(file.subarray(at + 12, end), salt) !== file.readUInt32LE(at + 8)) {
    return undefined;
  }
  const ops: Op[] = [];
  const counter = file.readBigUInt64LE(at + FRAME_HEADER_BYTES);
  for (let op = at + FRAME_HEADER_BYTES + 8; op < end; ) {
    const keyEnd = op + 8 + file.readUInt32LE(op);
    const length = file.readUInt32LE(op + 4);
    const key = file.toString("utf8", op + 8, keyEnd);
    op = length === DELETED ? keyEnd : keyEnd + length;
    ops.push({ key, value: length === DELETED ? undefined : Buffer.from(file.subarray(keyEnd, op)) });
  }
  return { frame: { sequence: file.readDoubleLE(at + 12), counter, ops }, end };
}

/** Whether a whole frame stands anywhere behind `from`: then what is broken in front of it was durable once. */
export function hasFrameBehind(file: Buffer, from: number, salt: number): boolean {
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(MAGIC);
  for (let at = file.indexOf(magic, from + 1); at >= 0; at = file.indexOf(magic, at + 1)) {
    if (decodeFrame(file, at, salt)) return true;
  }
  return false;
}
