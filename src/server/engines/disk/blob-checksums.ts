import type { FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";

/** What has a checksum of its own: reads begin and end at such pieces. */
export const BLOCK_BYTES = 256 * 1024;

const CHECKSUM_BYTES = 4;

/** How many pieces a file of `size` bytes has. */
const blocksOf = (size: number): number => Math.ceil(size / BLOCK_BYTES);

/** The bytes of a file on disk that has `size` bytes of its own: their checksums stand behind them. */
export const bytesOnDisk = (size: number): number => size + CHECKSUM_BYTES * blocksOf(size);

/** The checksums of pieces that come one after the other. */
export class BlobChecksums {
  readonly #sums: number[] = [];

  add(piece: Uint8Array): void {
    this.#sums.push(crc32(piece));
  }

  /** What is to be written behind the last piece. */
  encode(): Buffer {
    const bytes = Buffer.alloc(CHECKSUM_BYTES * this.#sums.length);
    for (const [i, sum] of this.#sums.entries()) bytes.writeUInt32LE(sum, CHECKSUM_BYTES * i);
    return bytes;
  }

  /** Where the first piece begins whose checksum `kept`, of all of them, does not have. */
  firstDifference(kept: Buffer): number | undefined {
    const piece = this.#sums.findIndex((sum, i) => kept.readUInt32LE(CHECKSUM_BYTES * i) !== sum);
    return piece < 0 ? undefined : BLOCK_BYTES * piece;
  }
}

/** The checksums of some pieces of a file. */
export class BlockVerifier {
  readonly #bytes: Buffer;
  readonly #first: number;

  private constructor(bytes: Buffer, first: number) {
    this.#bytes = bytes;
    this.#first = first;
  }

  /** Of a file of `size` bytes, for what is read from `start` up to `end`. */
  static async read(file: FileHandle, size: number, start: number, end: number): Promise<BlockVerifier> {
    const first = Math.floor(start / BLOCK_BYTES);
    const bytes = Buffer.alloc(CHECKSUM_BYTES * (blocksOf(end) - first));
    for (let at = 0; at < bytes.length; ) {
      const position = size + CHECKSUM_BYTES * first + at;
      const { bytesRead } = await file.read(bytes, at, bytes.length - at, position);
      // What is missing is no piece's checksum.
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    return new BlockVerifier(bytes, first);
  }

  /** Whether `bytes`, whole pieces from the one at `at` on, are what was written. */
  isRight(bytes: Uint8Array, at: number): boolean {
    let sum = CHECKSUM_BYTES * (at / BLOCK_BYTES - this.#first);
    for (let from = 0; from < bytes.length; from += BLOCK_BYTES, sum += CHECKSUM_BYTES) {
      if (crc32(bytes.subarray(from, from + BLOCK_BYTES)) !== this.#bytes.readUInt32LE(sum)) return false;
    }
    return true;
  }
}
