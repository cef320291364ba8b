import { crc32 } from "node:zlib";
import { BlockWriter, type TableEntry } from "./block.js";
import { bloomOf, hashOf } from "./bloom.js";
import type { Files, OpenFile } from "./files.js";
import { FOOTER_BYTES, TABLE_MAGIC } from "./table.js";
import { IndexWriter } from "./table-index.js";

/** What a block holds before the next one begins. */
const BLOCK_BYTES = 8 * 1024;

/** What is collected for one write. */
const WRITE_BYTES = 512 * 1024;

/** Writes a table: blocks of entries in order, then the index of the blocks, the filter, and a footer. */
export class TableWriter {
  readonly #file: OpenFile;
  readonly #index = new IndexWriter();
  #hashes = new Uint32Array(1024);
  #count = 0;
  #deletions = 0;
  readonly #block = new BlockWriter(2 * BLOCK_BYTES);
  #firstKey: Buffer | undefined;
  /** What the next write takes: used again after it. */
  #pending: Buffer = Buffer.allocUnsafeSlow(WRITE_BYTES + 4 * BLOCK_BYTES);
  #pendingBytes = 0;
  #end = 0;

  private constructor(file: OpenFile) {
    this.#file = file;
  }

  static async create(files: Files, path: string): Promise<TableWriter> {
    return new TableWriter(await files.open(path, "w+"));
  }

  /** How many entries it has taken. */
  get count(): number {
    return this.#count;
  }

  /** Whether flush() has something to write: it need not be called before. */
  get isFull(): boolean {
    return this.#pendingBytes >= WRITE_BYTES;
  }

  /** Takes the next entry, whose key is behind all before. */
  add(entry: TableEntry): void {
    if (!this.#block.isEmpty && this.#block.sizeWith(entry) > BLOCK_BYTES) this.#endBlock();
    if (this.#block.isEmpty) this.#firstKey = Buffer.from(entry.key);
    this.#block.add(entry);
    if (this.#count === this.#hashes.length) {
      const more = new Uint32Array(this.#hashes.length * 2);
      more.set(this.#hashes);
      this.#hashes = more;
    }
    this.#hashes[this.#count++] = hashOf(entry.key);
    if (!entry.value) this.#deletions++;
  }

  /** Writes what has been collected. */
  async flush(): Promise<void> {
    const bytes = this.#pending.subarray(0, this.#pendingBytes);
    await this.#file.write(bytes, this.#end - bytes.length);
    this.#pendingBytes = 0;
  }

  /** Ends the table. Resolves when all of it is durable, but for its name in the folder. */
  async finish(): Promise<void> {
    if (!this.#block.isEmpty) this.#endBlock();
    await this.flush();
    const index = this.#index.bytes();
    const bloom = bloomOf(this.#hashes.subarray(0, this.#count));
    const footer = Buffer.alloc(FOOTER_BYTES);
    footer.writeDoubleLE(this.#end, 0);
    footer.writeDoubleLE(index.length, 8);
    footer.writeDoubleLE(bloom.length, 16);
    footer.writeDoubleLE(this.#index.count, 24);
    footer.writeDoubleLE(this.#count, 32);
    footer.writeDoubleLE(this.#deletions, 40);
    footer.writeUInt32LE(crc32(bloom, crc32(index)), 48);
    footer.writeUInt32LE(crc32(footer.subarray(0, 52)), 52);
    TABLE_MAGIC.copy(footer, 56);
    await this.#file.write(Buffer.concat([index, bloom, footer]), this.#end);
    await this.#file.sync();
    await this.#file.close();
  }

  /** Gives up. What has been written stays behind as a file that no manifest names. */
  async abandon(): Promise<void> {
    await this.#file.close().catch(() => {});
  }

  #endBlock(): void {
    const block = this.#block.end();
    this.#index.add({ offset: this.#end, length: block.length }, this.#firstKey as Buffer);
    const end = this.#pendingBytes + block.length;
    if (end > this.#pending.length) {
      const more = Buffer.allocUnsafeSlow(end);
      this.#pending.copy(more, 0, 0, this.#pendingBytes);
      this.#pending = more;
    }
    block.copy(this.#pending, this.#pendingBytes);
    this.#pendingBytes = end;
    this.#end += block.length;
  }
}
