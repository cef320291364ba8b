import { type FileHandle, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { BLOCK_BYTES, BlockVerifier, bytesOnDisk } from "./blob-checksums.js";
import { DamageError } from "./errors.js";
import type { Files, OpenFile } from "./files.js";

/** The size of one read, and how many reads run at the same time. */
const READ_BYTES = 4 * BLOCK_BYTES;
const READ_AHEAD = 3;

/** The folder of files that are not complete yet. */
const STAGING = "aside";

/** The path of the file in the blobs' folder. */
export const fileOf = (id: string): string => join(id.slice(0, 2), id);

/** A reader, even if it has not begun to read. A file is not removed while it has readers. */
type Pin = { id: string; isReleased: boolean; file: FileHandle | undefined };

/** The blobs' files, in folders by their first letters. They are written in a staging folder, synced, then renamed. */
export class BlobFiles {
  readonly #files: Files;
  readonly #folder: string;
  readonly #folders = new Set<string>();
  readonly #pins = new Map<string, number>();
  /** The files to remove when they have no readers. */
  readonly #removed = new Set<string>();
  /** The files that are being written, which a sweep must not remove. */
  readonly #staged = new Set<string>();
  #allPinned = 0;
  readonly #unreachable = new FinalizationRegistry<Pin>((pin) => void this.#unpin(pin));

  constructor(files: Files, folder: string) {
    this.#files = files;
    this.#folder = folder;
  }

  pathOf(id: string): string {
    return join(this.#folder, fileOf(id));
  }

  /** Creates a file in the staging folder. Call publish() when it is synced, and discard() in any case. */
  async create(id: string): Promise<OpenFile> {
    this.#staged.add(id);
    await this.#ensureFolder(STAGING);
    return this.#files.open(this.#stagingPath(id), "w+");
  }

  /** Renames the file, which is synced, to its path. Resolves when that is durable. */
  async publish(id: string): Promise<void> {
    const folder = await this.#ensureFolder(id.slice(0, 2));
    await this.#files.rename(this.#stagingPath(id), this.pathOf(id));
    await this.#files.syncFolder(folder);
  }

  /** Removes the file from the staging folder, unless it was published. */
  async discard(id: string): Promise<void> {
    this.#staged.delete(id);
    await this.#files.unlink(this.#stagingPath(id)).catch(() => {});
  }

  /** Removes the file when it has no readers. */
  remove(id: string): void {
    if (this.#allPinned > 0 || this.#pins.has(id)) this.#removed.add(id);
    else void this.#files.unlink(this.pathOf(id)).catch(() => {});
  }

  /** Keeps all files until the returned function is called. */
  pinAll(): () => void {
    this.#allPinned++;
    return () => {
      if (--this.#allPinned > 0) return;
      for (const id of this.#removed) {
        if (this.#pins.has(id)) continue;
        this.#removed.delete(id);
        this.remove(id);
      }
    };
  }

  /** The bytes from `start` to `end` of a blob with `size` bytes. `checkOpen` throws if the engine is closed. */
  read(
    id: string,
    size: number,
    start: number,
    end: number,
    checkOpen: () => void,
  ): AsyncIterable<Uint8Array> {
    const pin: Pin = { id, isReleased: false, file: undefined };
    this.#pins.set(id, (this.#pins.get(id) ?? 0) + 1);
    const chunks = this.#chunks(pin, size, start, end, checkOpen);
    // A reader that never begins to read does not release its pin: the garbage collector does.
    this.#unreachable.register(chunks, pin);
    return chunks;
  }

  /** Removes every file for which `isKnown` returns false, until `isClosed` returns true. */
  async sweep(isKnown: (id: string) => boolean, isClosed: () => boolean): Promise<void> {
    const folders = await readdir(this.#folder).catch(() => []);
    for (const folder of folders) {
      for (const id of await readdir(join(this.#folder, folder)).catch(() => [])) {
        if (isClosed()) return;
        if (this.#staged.has(id)) continue;
        if (folder === STAGING || !isKnown(id)) {
          await this.#files.unlink(join(this.#folder, folder, id)).catch(() => {});
        }
      }
    }
  }

  #stagingPath(id: string): string {
    return join(this.#folder, STAGING, id);
  }

  async #ensureFolder(name: string): Promise<string> {
    const folder = join(this.#folder, name);
    if (this.#folders.has(name)) return folder;
    await this.#files.mkdir(folder);
    await this.#files.syncFolder(this.#folder);
    this.#folders.add(name);
    return folder;
  }

  async #unpin(pin: Pin): Promise<void> {
    if (pin.isReleased) return;
    pin.isReleased = true;
    await pin.file?.close().catch(() => {});
    const remaining = (this.#pins.get(pin.id) ?? 0) - 1;
    if (remaining > 0) {
      this.#pins.set(pin.id, remaining);
      return;
    }
    this.#pins.delete(pin.id);
    if (this.#removed.delete(pin.id)) this.remove(pin.id);
  }

  async *#chunks(
    pin: Pin,
    size: number,
    start: number,
    end: number,
    checkOpen: () => void,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const ahead: Promise<Uint8Array>[] = [];
    try {
      checkOpen();
      if (start >= end) return;
      const verifier = await this.#openFile(pin, size, start, end);
      let next = start - (start % BLOCK_BYTES);
      const last = Math.min(size, Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES);
      for (let at = next; at < end; at += READ_BYTES) {
        // The next chunks are read while the caller uses this one.
        for (; next < end && ahead.length < READ_AHEAD; next += READ_BYTES) {
          const reading = this.#chunk(pin, verifier, next, Math.min(last, next + READ_BYTES));
          reading.catch(() => {});
          ahead.push(reading);
        }
        const chunk = (await ahead.shift()) as Uint8Array;
        checkOpen();
        yield chunk.subarray(Math.max(0, start - at), end - at);
      }
    } finally {
      await Promise.allSettled(ahead);
      await this.#unpin(pin);
    }
  }

  async #openFile(pin: Pin, size: number, start: number, end: number): Promise<BlockVerifier> {
    const path = this.pathOf(pin.id);
    pin.file = await open(path, "r").catch((error: { code?: string }) => {
      throw error.code === "ENOENT" ? new DamageError(path, "it is missing") : error;
    });
    const bytes = (await pin.file.stat()).size;
    if (bytes !== bytesOnDisk(size)) {
      throw new DamageError(path, `it has ${bytes} bytes of ${bytesOnDisk(size)}`);
    }
    return BlockVerifier.read(pin.file, size, start, end);
  }

  async #chunk(pin: Pin, verifier: BlockVerifier, at: number, end: number): Promise<Uint8Array> {
    const { buffer } = Buffer.allocUnsafeSlow(end - at);
    const bytes = new Uint8Array(buffer);
    for (let filled = 0; filled < bytes.length; ) {
      const { bytesRead = 0 } =
        (await pin.file?.read(bytes, filled, bytes.length - filled, at + filled)) ?? {};
      if (bytesRead === 0) throw new DamageError(this.pathOf(pin.id), `it ends at byte ${at + filled}`);
      filled += bytesRead;
    }
    if (!verifier.isIntact(bytes, at)) {
      throw new DamageError(this.pathOf(pin.id), `the checksum of the block at byte ${at} does not match`);
    }
    return bytes;
  }
}
