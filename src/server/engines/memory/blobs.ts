import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { compareUtf8 } from "../../../internal/utf8.js";
import { type BlobInfo, type BlobStore, EngineFault } from "../../engine.js";
import { createSortedMap, valuesUnder } from "./sorted-map.js";

interface BlobLimits {
  maxBlobBytes: number;
  now: () => number;
}

/** The blobs of the memory engine. One is never changed once stored, so that its readers see it whole. */
export class MemoryBlobs implements BlobStore {
  readonly #blobs = createSortedMap<string, Blob>(compareUtf8);
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
    this.#open();
    if (ifAbsent && this.#blobs.has(name)) return undefined;
    const hash = sha256.create();
    const chunks: Uint8Array[] = [];
    let size = 0;
    try {
      for await (const chunk of content) {
        this.#open();
        this.#reserve(chunk.length);
        size += chunk.length;
        hash.update(chunk);
        chunks.push(chunk);
      }
    } catch (error) {
      this.#bytes -= size;
      throw error;
    }
    if (ifAbsent && this.#blobs.has(name)) {
      this.#bytes -= size;
      return undefined;
    }
    const info = {
      name,
      size,
      sha256: bytesToHex(hash.digest()),
      modifiedMs: this.#limits.now(),
      metadata: { ...metadata },
    };
    this.#bytes -= this.#blobs.get(name)?.info.size ?? 0;
    this.#blobs.set(name, { info, chunks });
    return info;
  }

  async get(name: string, { offset, length }: { offset: number; length?: number } = { offset: 0 }) {
    this.#open();
    const blob = this.#blobs.get(name);
    if (!blob) return undefined;
    const end = length === undefined ? blob.info.size : Math.min(blob.info.size, offset + length);
    return { info: blob.info, content: slice(blob.chunks, offset, end) };
  }

  async stat(name: string): Promise<BlobInfo | undefined> {
    this.#open();
    return this.#blobs.get(name)?.info;
  }

  async *list(prefix: string, after?: string): AsyncIterable<BlobInfo> {
    for (const { info } of valuesUnder(this.#blobs, prefix, after)) {
      this.#open();
      yield info;
    }
  }

  async delete(name: string): Promise<boolean> {
    this.#open();
    this.#bytes -= this.#blobs.get(name)?.info.size ?? 0;
    return this.#blobs.delete(name);
  }

  close(): void {
    this.#closed = true;
  }

  #open(): void {
    if (this.#closed) throw new EngineFault("away", "the memory engine is closed");
  }

  /** Counts what is being written as well, so that many unfinished writes cannot pass the limit together. */
  #reserve(bytes: number): void {
    const { maxBlobBytes } = this.#limits;
    if (this.#bytes + bytes > maxBlobBytes) {
      const limit = { name: "maxBlobBytes", most: maxBlobBytes };
      throw new EngineFault("full", "all blobs of the memory engine together", limit);
    }
    this.#bytes += bytes;
  }
}

type Blob = { info: BlobInfo; chunks: Uint8Array[] };

/** The bytes from `start` up to `end` of the chunks laid end to end. */
async function* slice(chunks: Uint8Array[], start: number, end: number): AsyncGenerator<Uint8Array> {
  let position = 0;
  for (const chunk of chunks) {
    if (position >= end) return;
    const from = Math.max(0, start - position);
    const to = Math.min(chunk.length, end - position);
    position += chunk.length;
    if (from < to) yield chunk.subarray(from, to);
  }
}
