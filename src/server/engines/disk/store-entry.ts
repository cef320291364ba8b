import { crc32 } from "node:zlib";

/** A key and its value. */
export type StoreEntry = { key: string; value: Buffer };

const CHECKSUM_BYTES = 4;

/** `value` behind a checksum of key and value: LevelDB gives out what it finds. */
export function withChecksum(key: string, value: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(CHECKSUM_BYTES + value.length);
  bytes.writeUInt32LE(crc32(value, crc32(key)));
  bytes.set(value, CHECKSUM_BYTES);
  return bytes;
}

/** The value in `bytes`; undefined where it is not what was written at `key`. */
export function verifiedValue(key: string, bytes: Buffer): Buffer | undefined {
  const value = bytes.subarray(CHECKSUM_BYTES);
  const isRight = bytes.length >= CHECKSUM_BYTES && bytes.readUInt32LE() === crc32(value, crc32(key));
  return isRight ? value : undefined;
}
