import { crc32 } from "node:zlib";

/** A key's value in a table; undefined: it was deleted, and older tables may have it. */
export type TableEntry = { key: Buffer; value: Buffer | undefined };

/** Stands for the length of a value where the key is deleted. */
const DELETED = 0xffff_ffff;
const ENTRY_HEADER_BYTES = 8;

/** The bytes that an entry takes in a block. */
const entryBytes = ({ key, value }: TableEntry): number =>
  ENTRY_HEADER_BYTES + key.length + (value?.length ?? 0);

/** Entries in order of their keys, where each begins, how many there are, and a checksum of it all. */
export class BlockWriter {
  #bytes: Buffer;
  #end = 0;
  readonly #starts: number[] = [];

  /** A block that has no more than `room` needs no more memory. */
  constructor(room: number) {
    this.#bytes = Buffer.allocUnsafeSlow(room);
  }

  get isEmpty(): boolean {
    return this.#starts.length === 0;
  }

  /** What the block takes once `entry` is in it. */
  sizeWith(entry: TableEntry): number {
    return this.#end + entryBytes(entry) + 4 * this.#starts.length + 12;
  }

  /** Takes a copy of the entry. */
  add(entry: TableEntry): void {
    const { key, value } = entry;
    this.#reserve(this.sizeWith(entry));
    this.#starts.push(this.#end);
    let at = this.#bytes.writeUInt32LE(key.length, this.#end);
    at = this.#bytes.writeUInt32LE(value ? value.length : DELETED, at);
    this.#bytes.set(key, at);
    at += key.length;
    if (value) this.#bytes.set(value, at);
    this.#end = at + (value?.length ?? 0);
  }

  /** Ends the block and begins the next one. The bytes are there until the next add(). */
  end(): Buffer {
    let at = this.#end;
    for (const start of this.#starts) at = this.#bytes.writeUInt32LE(start, at);
    at = this.#bytes.writeUInt32LE(this.#starts.length, at);
    at = this.#bytes.writeUInt32LE(crc32(this.#bytes.subarray(0, at)), at);
    this.#starts.length = 0;
    this.#end = 0;
    return this.#bytes.subarray(0, at);
  }

  #reserve(room: number): void {
    if (room <= this.#bytes.length) return;
    const more = Buffer.allocUnsafeSlow(room * 2);
    this.#bytes.copy(more, 0, 0, this.#end);
    this.#bytes = more;
  }
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
