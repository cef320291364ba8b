import { compareIn } from "./block.js";

/** Where a block is in its table's file. */
export type BlockPlace = { offset: number; length: number };

/** What each block takes in the index beside its first key: offset, length, where its first key ends. */
const PLACE_BYTES = 16;

/** Which keys are in which block: the first key of each, kept as bytes, as there may be very many. */
export class TableIndex {
  readonly #places: Buffer;
  readonly #keys: Buffer;
  readonly count: number;

  constructor(bytes: Buffer, count: number) {
    this.count = count;
    this.#places = bytes.subarray(0, count * PLACE_BYTES);
    this.#keys = bytes.subarray(count * PLACE_BYTES);
  }

  place(block: number): BlockPlace {
    const at = block * PLACE_BYTES;
    return { offset: this.#places.readDoubleLE(at), length: this.#places.readUInt32LE(at + 8) };
  }

  /** The last block whose first key is not behind `key`: the only one that may have it. -1 where there is none. */
  blockOf(key: Buffer): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = compareIn(this.#keys, this.#keyEnd(middle - 1), this.#keyEnd(middle), key);
      if (order <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #keyEnd(block: number): number {
    return block < 0 ? 0 : this.#places.readUInt32LE(block * PLACE_BYTES + 12);
  }
}

/** Takes down the blocks of a table as they are written. */
export class IndexWriter {
  readonly #places: number[] = [];
  readonly #keys: Buffer[] = [];
  #keyBytes = 0;

  get count(): number {
    return this.#keys.length;
  }

  add({ offset, length }: BlockPlace, firstKey: Buffer): void {
    this.#keyBytes += firstKey.length;
    this.#places.push(offset, length, this.#keyBytes);
    this.#keys.push(firstKey);
  }

  bytes(): Buffer {
    const places = Buffer.allocUnsafe(this.#keys.length * PLACE_BYTES);
    for (let i = 0, at = 0; i < this.#places.length; i += 3) {
      at = places.writeDoubleLE(this.#places[i] as number, at);
      at = places.writeUInt32LE(this.#places[i + 1] as number, at);
      at = places.writeUInt32LE(this.#places[i + 2] as number, at);
    }
    return Buffer.concat([places, ...this.#keys]);
  }
}
