import { crc32 } from "node:zlib";

/** A key's value in a table; undefined: it was deleted, and older tables may have it. */
export type TableEntry = { key: Buffer; value: Buffer | undefined };

/** Stands for the length of a value where the key is deleted. */
const DELETED = 0xffff_ffff;
const ENTRY_HEADER_BYTES = 8;

/** The bytes that an entry takes in a block. */
export const entryBytes = ({ key, value }: TableEntry): number =>
  ENTRY_HEADER_BYTES + key.length + (value?.length ?? 0) + 4;

/** Entries in order of their keys, where each begins, how many there are, and a checksum of it all. */
export function encodeBlock(entries: readonly TableEntry[]): Buffer {
  const block = Buffer.allocUnsafe(entries.reduce((sum, entry) => sum + entryBytes(entry), 8));
  const starts: number[] = [];
  let at = 0;
  for (const { key, value } of entries) {
    starts.push(at);
    block.writeUInt32LE(key.length, at);
    block.writeUInt32LE(value ? value.length : DELETED, at + 4);
    at += ENTRY_HEADER_BYTES;
    block.set(key, at);
    at += key.length;
    if (!value) continue;
    block.set(value, at);
    at += value.length;
  }
  for (const start of starts) at = block.writeUInt32LE(start, at);
  at = block.writeUInt32LE(starts.length, at);
  block.writeUInt32LE(crc32(block.subarray(0, at)), at);
  return block;
}

/** How the bytes from `start` up to `end` stand to `key`. Keys are short: a loop is faster than a call out of JavaScript. */
export function compareIn(bytes: Buffer, start: number, end: number, key: Buffer): number {
  const length = end - start;
  const shared = Math.min(length, key.length);
  for (let i = 0; i < shared; i++) {
    const difference = (bytes[start + i] as number) - (key[i] as number);
    if (difference !== 0) return difference;
  }
  return length - key.length;
}

/** A block that was read: its entries are found where they are. */
export class Block {
  readonly #bytes: Buffer;
  readonly #starts: number;
  /** How many entries it has. */
  readonly count: number;

  private constructor(bytes: Buffer, count: number) {
    this.#bytes = bytes;
    this.count = count;
    this.#starts = bytes.length - 8 - 4 * count;
  }

  /** Undefined where the bytes are not what was written. */
  static from(bytes: Buffer): Block | undefined {
    const end = bytes.length - 4;
    if (end < 4 || crc32(bytes.subarray(0, end)) !== bytes.readUInt32LE(end)) return undefined;
    return new Block(bytes, bytes.readUInt32LE(end - 4));
  }

  get size(): number {
    return this.#bytes.length;
  }

  /** The place of the first entry whose key is not before `key`, and whether it is that key's. */
  find(key: Buffer): { at: number; found: boolean } {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = this.#compare(middle, key);
      if (order === 0) return { at: middle, found: true };
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return { at: low, found: false };
  }

  key(at: number): Buffer {
    const start = this.#start(at);
    const from = start + ENTRY_HEADER_BYTES;
    return this.#bytes.subarray(from, from + this.#bytes.readUInt32LE(start));
  }

  value(at: number): Buffer | undefined {
    const start = this.#start(at);
    const length = this.#bytes.readUInt32LE(start + 4);
    if (length === DELETED) return undefined;
    const from = start + ENTRY_HEADER_BYTES + this.#bytes.readUInt32LE(start);
    return this.#bytes.subarray(from, from + length);
  }

  #start(at: number): number {
    return this.#bytes.readUInt32LE(this.#starts + 4 * at);
  }

  #compare(at: number, key: Buffer): number {
    const start = this.#start(at);
    const from = start + ENTRY_HEADER_BYTES;
    return compareIn(this.#bytes, from, from + this.#bytes.readUInt32LE(start), key);
  }
}
