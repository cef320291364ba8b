import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { Block } from "./block.js";
import { mayHave } from "./bloom.js";
import { DamageError } from "./faults.js";
import { tableName } from "./manifest.js";
import { TableIndex } from "./table-index.js";

/** The room that one who reads all begins with. */
const PASSING_BYTES = 16 * 1024;

export const FOOTER_BYTES = 64;
export const TABLE_MAGIC: Buffer = Buffer.from("FLTABLE1");

/** Blocks that were read last, of all tables together, as long as they fit. */
export class BlockCache {
  readonly #blocks = new Map<string, Block>();
  readonly #mostBytes: number;
  #bytes = 0;

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  get(key: string): Block | undefined {
    const block = this.#blocks.get(key);
    if (!block) return undefined;
    this.#blocks.delete(key);
    this.#blocks.set(key, block);
    return block;
  }

  put(key: string, block: Block): void {
    // One large value shall not cost all others their place.
    if (block.size > this.#mostBytes / 32) return;
    this.#blocks.set(key, block);
    this.#bytes += block.size;
    for (const [oldest, { size }] of this.#blocks) {
      if (this.#bytes <= this.#mostBytes) return;
      this.#blocks.delete(oldest);
      this.#bytes -= size;
    }
  }
}

/** An immutable file of entries in the order of their keys. Reads are the page cache's: they do not wait for writes. */
export class Table {
  readonly path: string;
  readonly number: number;
  /** The bytes of the file. */
  readonly size: number;
  /** The entries, deletions included. */
  readonly count: number;
  /** How many of them say that a key was deleted. */
  readonly deletions: number;
  readonly #fd: number;
  readonly #cache: BlockCache;
  readonly #index: TableIndex;
  readonly #bloom: Buffer;

  /** Opens the table `number`; fails as damaged where its file is not a whole one. */
  constructor(folder: string, number: number, cache: BlockCache) {
    const path = join(folder, tableName(number));
    this.path = path;
    this.number = number;
    this.#cache = cache;
    this.#fd = openSync(path, "r");
    try {
      this.size = fstatSync(this.#fd).size;
      if (this.size < FOOTER_BYTES) throw new DamageError(path, "it is cut short");
      const footer = this.#read(this.size - FOOTER_BYTES, FOOTER_BYTES);
      if (
        !footer.subarray(56).equals(TABLE_MAGIC) ||
        crc32(footer.subarray(0, 52)) !== footer.readUInt32LE(52)
      ) {
        throw new DamageError(path, "it does not end as a table does");
      }
      const indexBytes = footer.readDoubleLE(8);
      const rest = this.#read(footer.readDoubleLE(0), indexBytes + footer.readDoubleLE(16));
      if (crc32(rest) !== footer.readUInt32LE(48)) throw new DamageError(path, "its index is broken");
      this.#index = new TableIndex(rest.subarray(0, indexBytes), footer.readDoubleLE(24));
      this.#bloom = rest.subarray(indexBytes);
      this.count = footer.readDoubleLE(32);
      this.deletions = footer.readDoubleLE(40);
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** Whether there may be an entry at a key with this hash. */
  mayHave(hash: number): boolean {
    return mayHave(this.#bloom, hash);
  }

  /** The value at `key`, undefined in `value` where it was deleted; undefined where this table has no entry. */
  get(key: Buffer): { value: Buffer | undefined } | undefined {
    const number = this.#index.blockOf(key);
    if (number < 0) return undefined;
    const block = this.#block(number);
    const { at, found } = block.find(key);
    return found ? { value: block.value(at) } : undefined;
  }

  /**
   * The entries from `key` on. `cached`: as readers do; else past the cache, as one does who reads all: then each key and
   * value is there until the next step only.
   */
  cursor(key: Buffer | undefined, cached: boolean): Cursor {
    const blocks = cached ? (at: number) => this.#block(at) : this.#passing();
    let number = key ? Math.max(0, this.#index.blockOf(key)) : 0;
    let block = number < this.#index.count ? blocks(number) : undefined;
    let at = key && block ? block.find(key).at : 0;
    const settle = () => {
      while (block && at >= block.count) {
        block = ++number < this.#index.count ? blocks(number) : undefined;
        at = 0;
      }
    };
    settle();
    return {
      get key() {
        return block?.key(at);
      },
      get value() {
        return block?.value(at);
      },
      next() {
        at++;
        settle();
      },
    };
  }

  close(): void {
    closeSync(this.#fd);
  }

  #block(number: number): Block {
    const name = `${this.number}:${number}`;
    const known = this.#cache.get(name);
    if (known) return known;
    const { offset, length } = this.#index.place(number);
    const block = this.#decode(this.#read(offset, length), offset);
    this.#cache.put(name, block);
    return block;
  }

  /** Reads block after block into the same memory. */
  #passing(): (number: number) => Block {
    let room = Buffer.alloc(0);
    return (number) => {
      const { offset, length } = this.#index.place(number);
      if (room.length < length) room = Buffer.allocUnsafeSlow(Math.max(length, PASSING_BYTES));
      return this.#decode(this.#read(offset, length, room.subarray(0, length)), offset);
    };
  }

  #decode(bytes: Buffer, offset: number): Block {
    const block = Block.from(bytes);
    if (!block) throw new DamageError(this.path, `the block at byte ${offset} is broken`);
    return block;
  }

  #read(position: number, length: number, bytes: Buffer = Buffer.allocUnsafeSlow(length)): Buffer {
    for (let at = 0; at < length; ) {
      const read = readSync(this.#fd, bytes, at, length - at, position + at);
      if (read === 0) throw new DamageError(this.path, "it is cut short");
      at += read;
    }
    return bytes;
  }
}

/** A place among entries in order; `key` is undefined behind the last one. */
export interface Cursor {
  readonly key: Buffer | undefined;
  /** Undefined where the key was deleted. */
  readonly value: Buffer | undefined;
  next(): void;
}
