import { createHash, randomBytes } from "node:crypto";
import { rechunk } from "../../../lib/rechunk.js";
import type { BlobInfo, BlobStore } from "../../engine.js";
import { closedError, fullError } from "../shared/errors.js";
import { BLOCK_BYTES, BlobChecksums } from "./blob-checksums.js";
import { BlobFiles, fileOf } from "./blob-files.js";
import { toEngineFault } from "./errors.js";
import type { Files } from "./files.js";
import type { Tree } from "./tree.js";

export interface BlobOptions {
  files: Files;
  folder: string;
  /** The most bytes of all blobs together. */
  maxBlobBytes: number;
}

/** The prefixes in the tree of the blobs by name, and of the names by file. */
const BLOBS = "b";
const OWNERS = "f";

/** After this many bytes a sync is begun, which runs while the following bytes arrive. */
const SYNC_BYTES = 16 * 1024 ** 2;

/** How many blobs are read in one page. */
const PAGE_ENTRIES = 256;

/** A blob, as stored in the tree. Its name is the key. */
type Stored = Omit<BlobInfo, "name"> & { id: string };

/** The blobs of the disk engine: an immutable file for each. A file is a blob if the tree has its name. */
export class DiskBlobs implements BlobStore {
  readonly #tree: Tree;
  readonly #files: BlobFiles;
  readonly #maxBlobBytes: number;
  /** The bytes that are being written, and have no name yet. */
  #writing = 0;
  /** The files for which the write of a name failed: it may be in the journal all the same. */
  readonly #uncertain = new Set<string>();
  #closed = false;

  constructor(tree: Tree, { files, folder, maxBlobBytes }: BlobOptions) {
    this.#tree = tree;
    this.#files = new BlobFiles(files, folder);
    this.#maxBlobBytes = maxBlobBytes;
  }

  async put(
    name: string,
    content: AsyncIterable<Uint8Array>,
    { metadata, ifAbsent }: { metadata: Record<string, string>; ifAbsent: boolean },
  ): Promise<BlobInfo | undefined> {
    this.#checkOpen();
    if (ifAbsent && this.#tree.get(BLOBS + name)) return undefined;
    const id = randomBytes(16).toString("hex");
    const reserved = { bytes: 0 };
    try {
      const { size, sha256 } = await this.#write(id, content, reserved);
      this.#checkOpen();
      await this.#files.publish(id);
      const stored: Stored = {
        id,
        size,
        sha256,
        modifiedMs: this.#tree.clock.wall(),
        metadata: { ...metadata },
      };
      if (!(await this.#assignName(name, stored, ifAbsent))) return undefined;
      return infoOf(name, stored);
    } catch (error) {
      throw toEngineFault(error) ?? error;
    } finally {
      this.#writing -= reserved.bytes;
      await this.#files.discard(id);
    }
  }

  async get(name: string, { offset, length }: { offset: number; length?: number } = { offset: 0 }) {
    this.#checkOpen();
    const bytes = this.#tree.get(BLOBS + name);
    if (!bytes) return undefined;
    const stored = decode(bytes);
    const end = length === undefined ? stored.size : Math.min(stored.size, offset + length);
    const content = this.#files.read(stored.id, stored.size, offset, end, () => this.#checkOpen());
    return { info: infoOf(name, stored), content };
  }

  async stat(name: string): Promise<BlobInfo | undefined> {
    this.#checkOpen();
    const bytes = this.#tree.get(BLOBS + name);
    return bytes && infoOf(name, decode(bytes));
  }

  async *list(prefix: string, after?: string): AsyncIterable<BlobInfo> {
    for (let past = after === undefined ? undefined : BLOBS + after; ; ) {
      this.#checkOpen();
      const page = await this.#tree.page(BLOBS + prefix, past, PAGE_ENTRIES);
      for (const { key, value } of page.entries) {
        yield infoOf(key.slice(BLOBS.length), decode(value));
        this.#checkOpen();
      }
      if (page.after === undefined) return;
      past = page.after;
    }
  }

  async delete(name: string): Promise<boolean> {
    this.#checkOpen();
    const bytes = this.#tree.latest(BLOBS + name);
    if (!bytes) return false;
    const { id, size } = decode(bytes);
    const ops = [
      { key: BLOBS + name, value: undefined },
      { key: OWNERS + id, value: undefined },
    ];
    await this.#tree.write(ops, undefined, { blobs: -size });
    this.#files.remove(id);
    return true;
  }

  /** Keeps the files of deleted blobs until the returned function is called. */
  pin(): () => void {
    return this.#files.pinAll();
  }

  /** Removes the files without a name, which a killed process may have left. */
  async sweep(): Promise<void> {
    await this.#files.sweep(
      (id) => this.#tree.get(OWNERS + id) !== undefined,
      () => this.#closed,
    );
  }

  close(): void {
    this.#closed = true;
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError("disk");
  }

  /** Unfinished writes count as well, so that many of them cannot exceed the bound together. */
  #reserve(bytes: number, reserved: { bytes: number }): void {
    if (this.#tree.usage.blobs + this.#writing + bytes > this.#maxBlobBytes) {
      throw fullError("maxBlobBytes", this.#maxBlobBytes, "all blobs of the disk engine together");
    }
    this.#writing += bytes;
    reserved.bytes += bytes;
  }

  async #write(
    id: string,
    content: AsyncIterable<Uint8Array>,
    reserved: { bytes: number },
  ): Promise<{ size: number; sha256: string }> {
    const hash = createHash("sha256");
    const checksums = new BlobChecksums();
    const file = await this.#files.create(id);
    let size = 0;
    let synced = 0;
    let writing: Promise<void> = Promise.resolve();
    let syncing: Promise<void> = Promise.resolve();
    try {
      for await (const block of rechunk(content, BLOCK_BYTES)) {
        this.#checkOpen();
        this.#reserve(block.length, reserved);
        hash.update(block);
        checksums.add(block);
        // The previous block was written while this one was read and hashed.
        await writing;
        writing = file.write(block, size);
        writing.catch(() => {});
        size += block.length;
        if (size - synced < SYNC_BYTES) continue;
        await syncing;
        synced = size;
        syncing = file.sync();
        syncing.catch(() => {});
      }
      await writing;
      await syncing;
      this.#checkOpen();
      await file.write(checksums.encode(), size);
      await file.sync();
    } finally {
      await Promise.allSettled([writing, syncing]);
      await file.close();
    }
    return { size, sha256: hash.digest("hex") };
  }

  /** Gives the name to the file; returns false if `ifAbsent` and the name is taken. */
  async #assignName(name: string, stored: Stored, ifAbsent: boolean): Promise<boolean> {
    const bytes = this.#tree.latest(BLOBS + name);
    if (bytes && ifAbsent) {
      if (this.#tree.isPending(BLOBS + name)) await this.#tree.write([]);
      this.#files.remove(stored.id);
      return false;
    }
    const previous = bytes && decode(bytes);
    try {
      const ops = [
        { key: BLOBS + name, value: Buffer.from(JSON.stringify(stored)) },
        { key: OWNERS + stored.id, value: Buffer.from(name) },
        ...(previous ? [{ key: OWNERS + previous.id, value: undefined }] : []),
      ];
      await this.#tree.write(ops, undefined, { blobs: stored.size - (previous?.size ?? 0) });
    } catch (error) {
      // The name may be in the journal although the write failed. The next successful write decides that.
      this.#uncertain.add(stored.id);
      throw error;
    }
    if (previous) this.#files.remove(previous.id);
    this.#removeUncertain();
    return true;
  }

  /** Removes the files whose names were not written. */
  #removeUncertain(): void {
    for (const id of this.#uncertain) if (!this.#tree.get(OWNERS + id)) this.#files.remove(id);
    this.#uncertain.clear();
  }
}

/** Counts the bytes of all blobs of a tree, for a folder of a version that did not store this number. */
export async function blobBytesOf(tree: Tree): Promise<number> {
  let bytes = 0;
  for await (const { size } of storedBlobs(tree)) bytes += size;
  return bytes;
}

/** The files of all blobs of a tree, with their expected size and hash: for backups and checks. */
export async function* storedBlobs(
  tree: Pick<Tree, "all">,
): AsyncGenerator<{ name: string; file: string; size: number; sha256: string }> {
  for await (const { key, value } of tree.all(BLOBS)) {
    const { id, size, sha256 } = decode(value);
    yield { name: key.slice(BLOBS.length), file: fileOf(id), size, sha256 };
  }
}

const decode = (bytes: Buffer): Stored => JSON.parse(bytes.toString()) as Stored;

const infoOf = (name: string, { size, sha256, modifiedMs, metadata }: Stored): BlobInfo => {
  return { name, size, sha256, modifiedMs, metadata };
};
