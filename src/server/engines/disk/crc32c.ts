const POLYNOMIAL = 0x82f63b78;

const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ POLYNOMIAL : sum >>> 1;
  return sum;
});

/** The CRC-32C of `bytes` from `start` up to `end`, masked as LevelDB stores it. Node's own crc32 is another polynomial. */
export function maskedCrc32c(bytes: Uint8Array, start: number, end: number): number {
  let sum = -1;
  for (let i = start; i < end; i++) {
    sum = (TABLE[(sum ^ (bytes[i] as number)) & 0xff] as number) ^ (sum >>> 8);
  }
  sum = ~sum;
  return (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0;
}
