const POLYNOMIAL = 0x82f63b78;

/** The number of bytes per step. Each has its own table, so that a processor can do the lookups in parallel. */
const SLICES = 8;

/** Eight consecutive tables: the contribution of a byte that is followed by 0 to 7 other bytes of the step. */
const TABLES = createTables();

function createTables(): Int32Array {
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

/** The CRC-32C of `bytes` from `start` to `end`, masked as LevelDB stores it. Node's crc32 has another polynomial. */
export function maskedCrc32c(bytes: Uint8Array, start: number, end: number): number {
  // Inlined, as calls and closures would cost a third of the speed, and opening a folder reads all keys.
  const t = TABLES;
  const b = bytes;
  let sum = -1;
  let at = start;
  for (const last = end - SLICES; at <= last; at += SLICES) {
    sum ^=
      (b[at] as number) |
      ((b[at + 1] as number) << 8) |
      ((b[at + 2] as number) << 16) |
      ((b[at + 3] as number) << 24);
    sum =
      (t[1792 + (sum & 0xff)] as number) ^
      (t[1536 + ((sum >>> 8) & 0xff)] as number) ^
      (t[1280 + ((sum >>> 16) & 0xff)] as number) ^
      (t[1024 + (sum >>> 24)] as number) ^
      (t[768 + (b[at + 4] as number)] as number) ^
      (t[512 + (b[at + 5] as number)] as number) ^
      (t[256 + (b[at + 6] as number)] as number) ^
      (t[b[at + 7] as number] as number);
  }
  for (; at < end; at++) sum = (t[(sum ^ (b[at] as number)) & 0xff] as number) ^ (sum >>> 8);
  sum = ~sum;
  return (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0;
}
