import { readFile } from "node:fs/promises";
import { maskedCrc32c } from "./crc32c.js";
import { DamageError } from "./errors.js";
import { VarintReader } from "./store-manifest.js";
import { createYield } from "./yield-to-event-loop.js";

/** A table's footer: the positions of its two index blocks, and a magic number. */
const FOOTER_BYTES = 48;
const MAGIC = Buffer.from("57fb808b247547db", "hex");

/** A block's trailer: its compression, which is never used here, and its checksum. */
const TRAILER_BYTES = 5;

/** The sequence and the type of a write, after each key of a table. */
const TAG_BYTES = 8;

/** One write of a key: its value, or undefined for a deletion. The write with the highest sequence counts. */
export type StoreWrite = { key: Buffer; sequence: number; value: Buffer | undefined };

/** The positions at which a block begins and ends. */
type BlockRange = { start: number; end: number };

/** A LevelDB table in memory. Uses only blocks whose checksum was verified. */
export class StoreTableReader {
  readonly #path: string;
  readonly #bytes: Buffer;

  private constructor(path: string, bytes: Buffer) {
    this.#path = path;
    this.#bytes = bytes;
  }

  static async read(path: string): Promise<StoreTableReader> {
    return new StoreTableReader(path, await readFile(path));
  }

  /** Every damage of the indexes and of the blocks in them. `size` is the table's size by the manifest. */
  async *damage(size: number): AsyncGenerator<DamageError, void, undefined> {
    const yieldToEventLoop = createYield();
    if (this.#bytes.length !== size) yield this.#error(`it has ${this.#bytes.length} bytes of ${size}`);
    for (const index of [0, 1] as const) {
      try {
        for (const block of this.#blocksOf(index)) {
          const broken = this.#damageAt(block);
          if (broken) yield broken;
          await yieldToEventLoop();
        }
      } catch (error) {
        if (!(error instanceof DamageError)) throw error;
        yield error;
      }
    }
  }

  /** The table's writes in the order of keys, those of one key newest first. Omits damaged blocks. */
  *writes(): Generator<StoreWrite, void, undefined> {
    try {
      for (const block of this.#blocksOf(1)) {
        if (!this.#damageAt(block)) yield* writesIn(this.#bytes.subarray(block.start, block.end));
      }
    } catch (error) {
      if (!(error instanceof DamageError || error instanceof RangeError)) throw error;
    }
  }

  #error(reason: string): DamageError {
    return new DamageError(this.#path, reason);
  }

  #damageAt({ start, end }: BlockRange): DamageError | undefined {
    const bytes = this.#bytes;
    const isIntact =
      start <= end &&
      end + TRAILER_BYTES <= bytes.length &&
      maskedCrc32c(bytes, start, end + 1) === bytes.readUInt32LE(end + 1);
    if (!isIntact) return this.#error(`the block at byte ${start} is broken`);
    // The engine writes uncompressed blocks only.
    return bytes[end] === 0 ? undefined : this.#error(`the block at byte ${start} is of an unknown form`);
  }

  /** The blocks in an index: 0 is the metaindex, 1 the index of the data blocks. */
  #blocksOf(which: 0 | 1): BlockRange[] {
    const footer = this.#bytes.subarray(-FOOTER_BYTES);
    if (footer.length < FOOTER_BYTES || !footer.subarray(-MAGIC.length).equals(MAGIC)) {
      throw this.#error("its table footer is invalid");
    }
    try {
      const handles = new VarintReader(footer);
      const index = [readBlockRange(handles), readBlockRange(handles)][which] as BlockRange;
      const damage = this.#damageAt(index);
      if (damage) throw damage;
      return [...entriesOf(this.#bytes.subarray(index.start, index.end))].map(({ value }) =>
        readBlockRange(new VarintReader(value)),
      );
    } catch (error) {
      throw error instanceof RangeError ? this.#error("its index is broken") : error;
    }
  }
}

function readBlockRange(bytes: VarintReader): BlockRange {
  const start = bytes.number();
  return { start, end: start + bytes.number() };
}

function* writesIn(block: Buffer): Generator<StoreWrite, void, undefined> {
  for (const { key, value } of entriesOf(block)) {
    const at = key.length - TAG_BYTES;
    const isSet = (key.readUInt8(at) & 1) === 1;
    const sequence = key.readUIntLE(at + 1, 6) + key.readUInt8(at + 7) * 2 ** 48;
    yield { key: key.subarray(0, at), sequence, value: isSet ? value : undefined };
  }
}

/** The entries of a block: the length of the prefix shared with the previous key, the rest of the key, the value. */
function* entriesOf(block: Buffer): Generator<{ key: Buffer; value: Buffer }, void, undefined> {
  const restarts = block.readUInt32LE(block.length - 4);
  const end = block.length - 4 - 4 * restarts;
  let key = Buffer.alloc(0);
  for (const entries = new VarintReader(block); entries.at < end; ) {
    const shared = entries.number();
    const keyBytes = entries.number();
    const valueBytes = entries.number();
    const valueAt = entries.at + keyBytes;
    if (shared > key.length || valueAt + valueBytes > end) throw new RangeError("an entry is broken");
    key = Buffer.concat([key.subarray(0, shared), block.subarray(entries.at, valueAt)]);
    entries.at = valueAt + valueBytes;
    yield { key, value: block.subarray(valueAt, entries.at) };
  }
}
