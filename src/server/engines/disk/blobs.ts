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
  /** The bytes that all blobs together may hold. */
  maxBlobBytes: number;
}

/** Where the tree keeps what it knows of each blob, and which blob a file belongs to. */
const BLOBS = "b";
const OWNERS = "f";

/** How much is written before the disk is told to begin: it works while the rest comes. */
const SYNC_BYTES = 16 * 1024 ** 2;

const AT_ONCE = 256;

/** What the tree has of a blob; its name is the key. */
type Stored = Omit<BlobInfo, "name"> & { id: string };

/** The blobs of the disk engine: a file each that never changes, and the tree says which of them are blobs. */
export class DiskBlobs implements BlobStore {
  readonly #tree: Tree;
  readonly #files: BlobFiles;
  readonly #maxBlobBytes: number;
  /** The bytes of what is being written, and has no name yet. */
  #writing = 0;
  /** Blobs of which it is not known whether they were named. */
  readonly #unnamed = new Set<string>();
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
      await this.#files.settle(id);
      const stored: Stored = {
        id,
        size,
        sha256,
        modifiedMs: this.#tree.clock.wall(),
        metadata: { ...metadata },
      };
      if (!(await this.#name(name, stored, ifAbsent))) return undefined;
      return infoOf(name, stored);
    } catch (error) {
      throw toEngineFault(error) ?? error;
    } finally {
      this.#writing -= reserved.bytes;
      await this.#files.forget(id);
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
      const page = await this.#tree.page(BLOBS + prefix, past, AT_ONCE);
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

  /** Keeps the files of blobs that are deleted meanwhile, until the returned function is called. */
  pin(): () => void {
    return this.#files.pinAll();
  }

  /** Removes what a process that was killed has left behind: files that no blob has. */
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

  /** Counts what is being written as well, so that many unfinished writes cannot pass the bound together. */
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
    const writer = await this.#files.begin(id);
    let size = 0;
    let synced = 0;
    let writing: Promise<void> = Promise.resolve();
    let syncing: Promise<void> = Promise.resolve();
    try {
      for await (const piece of rechunk(content, BLOCK_BYTES)) {
        this.#checkOpen();
        this.#reserve(piece.length, reserved);
        hash.update(piece);
        checksums.add(piece);
        // The one before is written while this one was read and hashed.
        await writing;
        writing = writer.write(piece, size);
        writing.catch(() => {});
        size += piece.length;
        if (size - synced < SYNC_BYTES) continue;
        await syncing;
        synced = size;
        syncing = writer.sync();
        syncing.catch(() => {});
      }
      await writing;
      await syncing;
      this.#checkOpen();
      await writer.write(checksums.encode(), size);
      await writer.sync();
    } finally {
      await Promise.allSettled([writing, syncing]);
      await writer.close();
    }
    return { size, sha256: hash.digest("hex") };
  }

  /** Makes the file the blob's; false where `ifAbsent` and the name has been taken. */
  async #name(name: string, stored: Stored, ifAbsent: boolean): Promise<boolean> {
    const bytes = this.#tree.latest(BLOBS + name);
    if (bytes && ifAbsent) {
      if (this.#tree.isPending(BLOBS + name)) await this.#tree.write([]);
      this.#files.remove(stored.id);
      return false;
    }
    const before = bytes && decode(bytes);
    try {
      const ops = [
        { key: BLOBS + name, value: Buffer.from(JSON.stringify(stored)) },
        { key: OWNERS + stored.id, value: Buffer.from(name) },
        ...(before ? [{ key: OWNERS + before.id, value: undefined }] : []),
      ];
      await this.#tree.write(ops, undefined, { blobs: stored.size - (before?.size ?? 0) });
    } catch (error) {
      // Only what is written next tells whether this was: until then a restart may find it there.
      this.#unnamed.add(stored.id);
      throw error;
    }
    if (before) this.#files.remove(before.id);
    this.#removeUnnamed();
    return true;
  }

  /** Removes the files whose names were refused, now that it is known that they have none. */
  #removeUnnamed(): void {
    for (const id of this.#unnamed) if (!this.#tree.get(OWNERS + id)) this.#files.remove(id);
    this.#unnamed.clear();
  }
}

/** The bytes of all blobs of a tree: of a folder of a version that did not count them. */
export async function blobBytesOf(tree: Tree): Promise<number> {
  let bytes = 0;
  for await (const { size } of storedBlobs(tree)) bytes += size;
  return bytes;
}

/** The files of all blobs of a tree and what each has to hold: for a backup and a check. */
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
