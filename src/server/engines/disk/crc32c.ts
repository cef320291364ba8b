const POLYNOMIAL = 0x82f63b78;

/** How many bytes are taken at a time: with a table for each of them, a processor can look them up at once. */
const SLICES = 8;

/** What a byte that stands 0 to 7 bytes in front of the end adds to the sum: eight tables, one behind the other. */
const TABLES = tables();

function tables(): Int32Array {
  const all = new Int32Array(256 * SLICES);
  for (let byte = 0; byte < 256; byte++) {
    let sum = byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ POLYNOMIAL : sum >>> 1;
    all[byte] = sum;
  }
  for (let at = 256; at < all.length; at++) {
    const before = all[at - 256] as number;
    all[at] = (all[before & 0xff] as number) ^ (before >>> 8);
  }
  return all;
}

/** The CRC-32C of `bytes` from `start` up to `end`, masked as LevelDB stores it. Node's own crc32 is another polynomial. */
export function maskedCrc32c(bytes: Uint8Array, start: number, end: number): number {
  const byte = (at: number): number => bytes[at] as number;
  const entry = (slice: number, index: number): number => TABLES[256 * slice + (index & 0xff)] as number;
  let sum = -1;
  let at = start;
  for (const last = end - SLICES; at <= last; at += SLICES) {
    sum ^= byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16) | (byte(at + 3) << 24);
    sum =
      entry(7, sum) ^
      entry(6, sum >>> 8) ^
      entry(5, sum >>> 16) ^
      entry(4, sum >>> 24) ^
      entry(3, byte(at + 4)) ^
      entry(2, byte(at + 5)) ^
      entry(1, byte(at + 6)) ^
      entry(0, byte(at + 7));
  }
  for (; at < end; at++) sum = entry(0, sum ^ byte(at)) ^ (sum >>> 8);
  sum = ~sum;
  return (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0;
}
