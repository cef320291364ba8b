import { readFile } from "node:fs/promises";
import { maskedCrc32c } from "./crc32c.js";
import { DamageError } from "./errors.js";
import { VarintReader } from "./store-manifest.js";
import { createYield } from "./yield-to-event-loop.js";

/** Where the blocks of a table's two indexes are, and a magic number. */
const FOOTER_BYTES = 48;
const MAGIC = Buffer.from("57fb808b247547db", "hex");

/** How a block is compressed, here never, and its checksum. */
const TRAILER_BYTES = 5;

/** The sequence of a write and whether it set or deleted the key, behind each key of a table. */
const TAG_BYTES = 8;

/** One write of a key: what it set, or undefined where it deleted it. The one with the highest sequence counts. */
export type StoreWrite = { key: Buffer; sequence: number; value: Buffer | undefined };

/** Where a block begins and ends. */
type Place = { start: number; end: number };

/** One of LevelDB's tables, in memory, of which no block is used whose checksum was not compared. */
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

  /** Everything that is damaged: of an index, or of any block that it names. `size` is what the manifest says. */
  async *damage(size: number): AsyncGenerator<DamageError, void, undefined> {
    const turn = createYield();
    if (this.#bytes.length !== size) yield this.#error(`it has ${this.#bytes.length} bytes of ${size}`);
    for (const index of [0, 1] as const) {
      try {
        for (const place of this.#placesOf(index)) {
          const broken = this.#faultAt(place);
          if (broken) yield broken;
          await turn();
        }
      } catch (error) {
        if (!(error instanceof DamageError)) throw error;
        yield error;
      }
    }
  }

  /** The writes in it, key by key, the last of each first. What is damaged is left out. */
  *writes(): Generator<StoreWrite, void, undefined> {
    try {
      for (const place of this.#placesOf(1)) {
        if (!this.#faultAt(place)) yield* writesIn(this.#bytes.subarray(place.start, place.end));
      }
    } catch (error) {
      if (!(error instanceof DamageError || error instanceof RangeError)) throw error;
    }
  }

  #error(what: string): DamageError {
    return new DamageError(this.#path, what);
  }

  #faultAt({ start, end }: Place): DamageError | undefined {
    const bytes = this.#bytes;
    const isWhole =
      start <= end &&
      end + TRAILER_BYTES <= bytes.length &&
      maskedCrc32c(bytes, start, end + 1) === bytes.readUInt32LE(end + 1);
    if (!isWhole) return this.#error(`the block at byte ${start} is broken`);
    // The engine has none compressed.
    return bytes[end] === 0 ? undefined : this.#error(`the block at byte ${start} is of an unknown form`);
  }

  /** The places of the blocks that an index names: 0 is that of what helps to read it, 1 that of the entries. */
  #placesOf(which: 0 | 1): Place[] {
    const footer = this.#bytes.subarray(-FOOTER_BYTES);
    if (footer.length < FOOTER_BYTES || !footer.subarray(-MAGIC.length).equals(MAGIC)) {
      throw this.#error("it does not end as a table does");
    }
    try {
      const handles = new VarintReader(footer);
      const index = [placeAt(handles), placeAt(handles)][which] as Place;
      const fault = this.#faultAt(index);
      if (fault) throw fault;
      return [...entriesOf(this.#bytes.subarray(index.start, index.end))].map(({ value }) =>
        placeAt(new VarintReader(value)),
      );
    } catch (error) {
      throw error instanceof RangeError ? this.#error("its index is broken") : error;
    }
  }
}

function placeAt(bytes: VarintReader): Place {
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

/** The entries of a block: each has the bytes that its key shares with the last, the others, and a value. */
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
