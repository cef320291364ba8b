import type { FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";

/** Each block has its own checksum. Reads begin and end at block boundaries. */
export const BLOCK_BYTES = 256 * 1024;

const CHECKSUM_BYTES = 4;

/** The number of blocks of a blob with `size` bytes. */
const blocksOf = (size: number): number => Math.ceil(size / BLOCK_BYTES);

/** The size of the file of a blob with `size` bytes: the content, followed by the checksums of its blocks. */
export const bytesOnDisk = (size: number): number => size + CHECKSUM_BYTES * blocksOf(size);

/** Computes the checksums of consecutive blocks. */
export class BlobChecksums {
  readonly #sums: number[] = [];

  add(block: Uint8Array): void {
    this.#sums.push(crc32(block));
  }

  /** The bytes to write after the last block. */
  encode(): Buffer {
    const bytes = Buffer.alloc(CHECKSUM_BYTES * this.#sums.length);
    for (const [i, sum] of this.#sums.entries()) bytes.writeUInt32LE(sum, CHECKSUM_BYTES * i);
    return bytes;
  }

  /** The position of the first block whose checksum differs from that in `stored`; undefined if none does. */
  firstDifference(stored: Buffer): number | undefined {
    const block = this.#sums.findIndex((sum, i) => stored.readUInt32LE(CHECKSUM_BYTES * i) !== sum);
    return block < 0 ? undefined : BLOCK_BYTES * block;
  }
}

/** Verifies a range of a blob's blocks against the stored checksums. */
export class BlockVerifier {
  readonly #bytes: Buffer;
  readonly #first: number;

  private constructor(bytes: Buffer, first: number) {
    this.#bytes = bytes;
    this.#first = first;
  }

  /** Reads the checksums of the bytes from `start` to `end` of a blob with `size` bytes. */
  static async read(file: FileHandle, size: number, start: number, end: number): Promise<BlockVerifier> {
    const first = Math.floor(start / BLOCK_BYTES);
    const bytes = Buffer.alloc(CHECKSUM_BYTES * (blocksOf(end) - first));
    for (let at = 0; at < bytes.length; ) {
      const position = size + CHECKSUM_BYTES * first + at;
      const { bytesRead } = await file.read(bytes, at, bytes.length - at, position);
      // A missing checksum stays 0, and does not match.
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    return new BlockVerifier(bytes, first);
  }

  /** Whether the checksums of `bytes` match: whole blocks from position `at` on. */
  isIntact(bytes: Uint8Array, at: number): boolean {
    let sum = CHECKSUM_BYTES * (at / BLOCK_BYTES - this.#first);
    for (let from = 0; from < bytes.length; from += BLOCK_BYTES, sum += CHECKSUM_BYTES) {
      if (crc32(bytes.subarray(from, from + BLOCK_BYTES)) !== this.#bytes.readUInt32LE(sum)) return false;
    }
    return true;
  }
}
