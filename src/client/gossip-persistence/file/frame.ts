import { crc32 } from "node:zlib";

/** The beginning of a file. A later layout has another one. */
export const FILE_SIGNATURE = Buffer.from("FLGMAP01");

/** The header of a frame: magic number, length of the record, its checksum. */
const HEADER_BYTES = 12;
const MAGIC = Buffer.from("FLGM");

/** A record with its header, as it is in the file. */
export function encodeFileFrame(record: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + record.length);
  MAGIC.copy(frame);
  frame.writeUInt32LE(record.length, 4);
  frame.writeUInt32LE(crc32(record), 8);
  frame.set(record, HEADER_BYTES);
  return frame;
}

/** What was read from a file. */
export type FrameScan = {
  records: Uint8Array[];
  /** The end of the last intact frame. What follows was not written completely before a crash. */
  end: number;
  /** The bytes of damaged frames that intact ones follow: they were complete once. */
  damagedBytes: number;
};

/** The intact records of `file`, which begins with FILE_SIGNATURE. */
export function readFileFrames(file: Buffer): FrameScan {
  const scan: FrameScan = { records: [], end: FILE_SIGNATURE.length, damagedBytes: 0 };
  let at = FILE_SIGNATURE.length;
  while (at >= 0 && at < file.length) {
    const record = recordAt(file, at);
    if (record) {
      scan.damagedBytes += at - scan.end;
      scan.records.push(record);
      scan.end = at += HEADER_BYTES + record.length;
    } else {
      at = file.indexOf(MAGIC, at + 1);
    }
  }
  return scan;
}

/** The record of the frame at `at`; undefined if the frame is not intact. */
function recordAt(file: Buffer, at: number): Uint8Array | undefined {
  if (at + HEADER_BYTES > file.length || !file.subarray(at, at + 4).equals(MAGIC)) return undefined;
  const start = at + HEADER_BYTES;
  const length = file.readUInt32LE(at + 4);
  if (start + length > file.length) return undefined;
  const record = new Uint8Array(file.buffer, file.byteOffset + start, length);
  return crc32(record) === file.readUInt32LE(at + 8) ? record : undefined;
}
