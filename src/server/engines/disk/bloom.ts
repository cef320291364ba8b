/** Ten bits and six probes for each key: one in a hundred missing keys is looked for in vain. */
const BITS_PER_KEY = 10;
const PROBES = 6;

/** A hash of `key`, for Bloom filters. */
export function hashOf(key: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ (key[i] as number), 0x01000193);
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  return hash >>> 0;
}

/** The distance between a key's probes. Odd, so that it goes through all places. */
const stepOf = (hash: number): number => (Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35) | 1) >>> 0;

/** The filter of keys with these hashes. */
export function bloomOf(hashes: Uint32Array): Buffer {
  const bits = Buffer.alloc(Math.max(8, Math.ceil((hashes.length * BITS_PER_KEY) / 8)));
  const size = bits.length * 8;
  for (const hash of hashes) {
    const step = stepOf(hash);
    for (let probe = 0, at = hash; probe < PROBES; probe++, at = (at + step) >>> 0) {
      const bit = at % size;
      bits[bit >>> 3] = (bits[bit >>> 3] as number) | (1 << (bit & 7));
    }
  }
  return bits;
}

/** False: no key of the filter has this hash. */
export function mayHave(bits: Uint8Array, hash: number): boolean {
  const size = bits.length * 8;
  const step = stepOf(hash);
  for (let probe = 0, at = hash; probe < PROBES; probe++, at = (at + step) >>> 0) {
    const bit = at % size;
    if (((bits[bit >>> 3] as number) & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}
