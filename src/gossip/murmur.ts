import { utf8 } from "../lib/utf8.js";

/** The two words of the last hash that HashInput computed, which callers read at once. */
export const hashed = new Int32Array(2);

/**
 * Hashes of 64 bits: two lanes of 32 bits over the same bytes, since JavaScript multiplies only 32 bits fast. Both are
 * MurmurHash3 (x86, 32 bits); the second one has the constants of the second lane of its variant for 128 bits.
 */
export class HashInput {
  #bytes = new Uint8Array(256);
  #length = 0;

  /** Starts the next input. */
  clear(): this {
    this.#length = 0;
    return this;
  }

  /** Appends a number, in 4 bytes. */
  number(value: number): this {
    this.#reserve(4);
    for (let shift = 0; shift < 32; shift += 8) this.#bytes[this.#length++] = value >>> shift;
    return this;
  }

  bytes(values: Uint8Array): this {
    this.#reserve(values.length);
    // Faster than TypedArray.set() for as few bytes as a timestamp has.
    if (values.length <= 64)
      for (let i = 0; i < values.length; i++) this.#bytes[this.#length++] = values[i] as number;
    else {
      this.#bytes.set(values, this.#length);
      this.#length += values.length;
    }
    return this;
  }

  /** Appends a text in UTF-8. */
  text(value: string): this {
    this.#reserve(value.length);
    const start = this.#length;
    for (let i = 0; i < value.length; i++) {
      const unit = value.charCodeAt(i);
      if (unit >= 0x80) {
        this.#length = start;
        return this.bytes(utf8(value));
      }
      this.#bytes[start + i] = unit;
    }
    this.#length = start + value.length;
    return this;
  }

  /** Puts the hash into `hashed`. */
  hash(): void {
    const bytes = this.#bytes;
    const length = this.#length;
    const whole = length & ~3;
    let a = SEED_A;
    let b = SEED_B;
    for (let i = 0; i < whole; i += 4) {
      const word =
        (bytes[i] as number) |
        ((bytes[i + 1] as number) << 8) |
        ((bytes[i + 2] as number) << 16) |
        ((bytes[i + 3] as number) << 24);
      a ^= mixA(word);
      a = (Math.imul((a << 13) | (a >>> 19), 5) + 0xe6546b64) | 0;
      b ^= mixB(word);
      b = (Math.imul((b << 17) | (b >>> 15), 5) + 0x0bcaa747) | 0;
    }
    let rest = 0;
    for (let i = length - 1; i >= whole; i--) rest = (rest << 8) | (bytes[i] as number);
    if (whole < length) {
      a ^= mixA(rest);
      b ^= mixB(rest);
    }
    hashed[0] = avalanche(a ^ length);
    hashed[1] = avalanche(b ^ length);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + count));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

const SEED_A = 0;
const SEED_B = 0x2545f491;

function mixA(word: number): number {
  const mixed = Math.imul(word, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}

function mixB(word: number): number {
  const mixed = Math.imul(word, 0xab0e9789);
  return Math.imul((mixed << 16) | (mixed >>> 16), 0x38b34ae5);
}

/** Makes each bit of the result depend on each bit of `value`. */
function avalanche(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
