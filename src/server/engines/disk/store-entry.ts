import { crc32 } from "node:zlib";

/** A key and its value. */
export type StoreEntry = { key: string; value: Buffer };

const CHECKSUM_BYTES = 4;

/** `value` after a checksum of key and value, as LevelDB does not verify what it reads. */
export function withChecksum(key: string, value: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(CHECKSUM_BYTES + value.length);
  bytes.writeUInt32LE(crc32(value, crc32(key)));
  bytes.set(value, CHECKSUM_BYTES);
  return bytes;
}

/** The value in `bytes`; undefined if the checksum does not match. */
export function verifiedValue(key: string, bytes: Buffer): Buffer | undefined {
  const value = bytes.subarray(CHECKSUM_BYTES);
  const isIntact = bytes.length >= CHECKSUM_BYTES && bytes.readUInt32LE() === crc32(value, crc32(key));
  return isIntact ? value : undefined;
}
