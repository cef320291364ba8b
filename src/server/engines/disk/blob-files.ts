import { type FileHandle, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { BLOCK_BYTES, BlockVerifier, bytesOnDisk } from "./blob-checksums.js";
import { DamageError } from "./errors.js";
import type { Files, OpenFile } from "./files.js";

/** What is read at a time, and how many of these at most while the first of them is waited for. */
const READ_BYTES = 4 * BLOCK_BYTES;
const READ_AHEAD = 3;

/** Where files are before they are whole. */
const ASIDE = "aside";

/** Where the file is in the blobs' folder. */
export const fileOf = (id: string): string => join(id.slice(0, 2), id);

/** A reader, also one that has not begun: the file stays while there is any. */
type Pin = { id: string; over: boolean; file: FileHandle | undefined };

/** The blobs' files: written aside, synced, then renamed to where they stay, in folders by their first letters. */
export class BlobFiles {
  readonly #files: Files;
  readonly #folder: string;
  readonly #folders = new Set<string>();
  readonly #pins = new Map<string, number>();
  /** Those that go once nobody reads them. */
  readonly #removed = new Set<string>();
  /** Those that are being made: no sweep takes them. */
  readonly #begun = new Set<string>();
  #allPinned = 0;
  readonly #lost = new FinalizationRegistry<Pin>((pin) => void this.#unpin(pin));

  constructor(files: Files, folder: string) {
    this.#files = files;
    this.#folder = folder;
  }

  place(id: string): string {
    return join(this.#folder, fileOf(id));
  }

  /** A file to be written aside; settle() or forget() comes next. */
  async begin(id: string): Promise<OpenFile> {
    this.#begun.add(id);
    await this.#has(ASIDE);
    return this.#files.open(this.#aside(id), "w+");
  }

  /** Puts the file, which is synced, where it stays. Resolves when that is durable. */
  async settle(id: string): Promise<void> {
    const folder = await this.#has(id.slice(0, 2));
    await this.#files.rename(this.#aside(id), this.place(id));
    await this.#files.syncFolder(folder);
  }

  /** Removes what is left aside; nothing, where the file has been settled. */
  async forget(id: string): Promise<void> {
    this.#begun.delete(id);
    await this.#files.unlink(this.#aside(id)).catch(() => {});
  }

  /** Removes the file once nobody reads it. */
  remove(id: string): void {
    if (this.#allPinned > 0 || this.#pins.has(id)) this.#removed.add(id);
    else void this.#files.unlink(this.place(id)).catch(() => {});
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

  /** The bytes from `start` up to `end` of a file of `size` bytes, as they are now. `check` throws where it is over. */
  read(id: string, size: number, start: number, end: number, check: () => void): AsyncIterable<Uint8Array> {
    const pin: Pin = { id, over: false, file: undefined };
    this.#pins.set(id, (this.#pins.get(id) ?? 0) + 1);
    const chunks = this.#chunks(pin, size, start, end, check);
    // Who never begins to read never ends it either.
    this.#lost.register(chunks, pin);
    return chunks;
  }

  /** Removes every file that `isKnown` does not know. */
  async sweep(isKnown: (id: string) => boolean, isOver: () => boolean): Promise<void> {
    const folders = await readdir(this.#folder).catch(() => []);
    for (const folder of folders) {
      for (const id of await readdir(join(this.#folder, folder)).catch(() => [])) {
        if (isOver()) return;
        if (this.#begun.has(id)) continue;
        if (folder === ASIDE || !isKnown(id)) {
          await this.#files.unlink(join(this.#folder, folder, id)).catch(() => {});
        }
      }
    }
  }

  #aside(id: string): string {
    return join(this.#folder, ASIDE, id);
  }

  async #has(name: string): Promise<string> {
    const folder = join(this.#folder, name);
    if (this.#folders.has(name)) return folder;
    await this.#files.mkdir(folder);
    await this.#files.syncFolder(this.#folder);
    this.#folders.add(name);
    return folder;
  }

  async #unpin(pin: Pin): Promise<void> {
    if (pin.over) return;
    pin.over = true;
    await pin.file?.close().catch(() => {});
    const left = (this.#pins.get(pin.id) ?? 0) - 1;
    if (left > 0) {
      this.#pins.set(pin.id, left);
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
    check: () => void,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const ahead: Promise<Uint8Array>[] = [];
    try {
      check();
      if (start >= end) return;
      const pieces = await this.#begin(pin, size, start, end);
      let next = start - (start % BLOCK_BYTES);
      const last = Math.min(size, Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES);
      for (let at = next; at < end; at += READ_BYTES) {
        // The next ones are read while this one is used.
        for (; next < end && ahead.length < READ_AHEAD; next += READ_BYTES) {
          const reading = this.#chunk(pin, pieces, next, Math.min(last, next + READ_BYTES));
          reading.catch(() => {});
          ahead.push(reading);
        }
        const chunk = (await ahead.shift()) as Uint8Array;
        check();
        yield chunk.subarray(Math.max(0, start - at), end - at);
      }
    } finally {
      await Promise.allSettled(ahead);
      await this.#unpin(pin);
    }
  }

  async #begin(pin: Pin, size: number, start: number, end: number): Promise<BlockVerifier> {
    const path = this.place(pin.id);
    pin.file = await open(path, "r").catch((error: { code?: string }) => {
      throw error.code === "ENOENT" ? new DamageError(path, "it is missing") : error;
    });
    const bytes = (await pin.file.stat()).size;
    if (bytes !== bytesOnDisk(size)) {
      throw new DamageError(path, `it has ${bytes} bytes of ${bytesOnDisk(size)}`);
    }
    return BlockVerifier.read(pin.file, size, start, end);
  }

  async #chunk(pin: Pin, pieces: BlockVerifier, at: number, end: number): Promise<Uint8Array> {
    const { buffer } = Buffer.allocUnsafeSlow(end - at);
    const bytes = new Uint8Array(buffer);
    for (let filled = 0; filled < bytes.length; ) {
      const { bytesRead = 0 } =
        (await pin.file?.read(bytes, filled, bytes.length - filled, at + filled)) ?? {};
      if (bytesRead === 0) throw new DamageError(this.place(pin.id), `it ends at byte ${at + filled}`);
      filled += bytesRead;
    }
    if (!pieces.isRight(bytes, at)) {
      throw new DamageError(this.place(pin.id), `what it has from byte ${at} on is not what was written`);
    }
    return bytes;
  }
}
