import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { rechunk } from "../../../lib/rechunk.js";
import type { BlobInfo, BlobStore } from "../../engine.js";
import { closedError, fullError } from "../shared/errors.js";
import { compactBytes } from "./compact-bytes.js";
import { SortedMap } from "./sorted-map.js";

interface BlobLimits {
  maxBlobBytes: number;
  now: () => number;
}

/** Blobs are stored in pieces of this size: many small chunks would take more memory than their bytes. */
const PIECE_BYTES = 64 * 1024;

/** The blobs of the memory engine. A stored blob never changes, so that its readers see all of it. */
export class MemoryBlobs implements BlobStore {
  readonly #blobs = new SortedMap<Blob>();
  readonly #limits: BlobLimits;
  #bytes = 0;
  #closed = false;

  constructor(limits: BlobLimits) {
    this.#limits = limits;
  }

  async put(
    name: string,
    content: AsyncIterable<Uint8Array>,
    { metadata, ifAbsent }: { metadata: Record<string, string>; ifAbsent: boolean },
  ): Promise<BlobInfo | undefined> {
    this.#checkOpen();
    if (ifAbsent && this.#blobs.get(name)) return undefined;
    const hash = sha256.create();
    const pieces: Uint8Array[] = [];
    let size = 0;
    let stored = false;
    try {
      for await (const piece of rechunk(content, PIECE_BYTES)) {
        this.#checkOpen();
        this.#reserve(piece.length);
        size += piece.length;
        hash.update(piece);
        pieces.push(compactBytes(piece));
      }
      this.#checkOpen();
      const present = this.#blobs.get(name);
      if (ifAbsent && present) return undefined;
      const info: BlobInfo = {
        name,
        size,
        sha256: bytesToHex(hash.digest()),
        modifiedMs: this.#limits.now(),
        metadata: { ...metadata },
      };
      if (present) this.#remove(present);
      this.#blobs.set(name, { info, pieces, bytes: size, readers: 0, removed: false });
      stored = true;
      return info;
    } finally {
      if (!stored) this.#bytes -= size;
    }
  }

  async get(name: string, { offset, length }: { offset: number; length?: number } = { offset: 0 }) {
    this.#checkOpen();
    const blob = this.#blobs.get(name);
    if (!blob) return undefined;
    const end = length === undefined ? blob.info.size : Math.min(blob.info.size, offset + length);
    return { info: blob.info, content: this.#read(blob, offset, end) };
  }

  async stat(name: string): Promise<BlobInfo | undefined> {
    this.#checkOpen();
    return this.#blobs.get(name)?.info;
  }

  async *list(prefix: string, after?: string): AsyncIterable<BlobInfo> {
    this.#checkOpen();
    for (const { info } of this.#blobs.valuesUnder(prefix, after)) {
      yield info;
      this.#checkOpen();
    }
  }

  async delete(name: string): Promise<boolean> {
    this.#checkOpen();
    const blob = this.#blobs.get(name);
    if (blob) this.#remove(blob);
    return blob !== undefined;
  }

  close(): void {
    this.#closed = true;
    this.#blobs.clear();
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError("memory");
  }

  /** Unfinished writes count as well, so that many of them cannot exceed the limit together. */
  #reserve(bytes: number): void {
    const { maxBlobBytes } = this.#limits;
    if (this.#bytes + bytes > maxBlobBytes) {
      throw fullError("maxBlobBytes", maxBlobBytes, "all blobs of the memory engine together");
    }
    this.#bytes += bytes;
  }

  /** The bytes of the blob from `start` up to `end`. */
  async *#read(blob: Blob, start: number, end: number): AsyncGenerator<Uint8Array, void, undefined> {
    blob.readers++;
    try {
      for (let at = start; at < end; ) {
        const index = Math.floor(at / PIECE_BYTES);
        const piece = blob.pieces[index] as Uint8Array;
        const from = at - index * PIECE_BYTES;
        const part = piece.subarray(from, from + end - at);
        at += part.length;
        yield part;
      }
    } finally {
      blob.readers--;
      this.#giveBack(blob);
    }
  }

  #remove(blob: Blob): void {
    this.#blobs.delete(blob.info.name);
    blob.removed = true;
    this.#giveBack(blob);
  }

  /** A removed blob counts until its last reader has ended. */
  #giveBack(blob: Blob): void {
    if (!blob.removed || blob.readers > 0) return;
    this.#bytes -= blob.bytes;
    blob.bytes = 0;
  }
}

type Blob = {
  info: BlobInfo;
  /** All have PIECE_BYTES, except for the last one. */
  pieces: Uint8Array[];
  /** Its part of `maxBlobBytes`. */
  bytes: number;
  readers: number;
  removed: boolean;
};
