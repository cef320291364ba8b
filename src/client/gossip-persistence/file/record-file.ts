import { constants } from "node:fs";
import { copyFile, type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { GossipStore, LoadedRecords } from "../../gossip-persistence.js";
import { lockFile } from "./file-lock.js";
import { encodeFileFrame, FILE_SIGNATURE, readFileFrames } from "./frame.js";

/** The records of one map in one file. */
export class RecordFile implements GossipStore {
  readonly #path: string;
  readonly #syncMs: number;
  readonly #unlock: () => Promise<void>;
  #file: FileHandle;
  /** Where the next record goes. */
  #end = 0;
  #syncTimer: ReturnType<typeof setTimeout> | undefined;
  #syncing: Promise<void> | undefined;
  #syncError: unknown;
  #closing: Promise<void> | undefined;

  /** Opens the file, creates it if necessary, and locks it. See FilePersistenceOptions for `syncMs`. */
  static async open(path: string, syncMs: number): Promise<RecordFile> {
    const unlock = await lockFile(path);
    try {
      await rm(`${path}.new`, { force: true });
      const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
      return new RecordFile(path, syncMs, file, unlock);
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  private constructor(path: string, syncMs: number, file: FileHandle, unlock: () => Promise<void>) {
    this.#path = path;
    this.#syncMs = syncMs;
    this.#file = file;
    this.#unlock = unlock;
  }

  async load(): Promise<LoadedRecords> {
    const content = await readWhole(this.#file);
    if (content.length === 0) return this.#create();
    if (!isPrefix(content)) {
      throw new Error(
        `Cannot open "${this.#path}": it is not a stored gossip map, or one of a later version of this library`,
      );
    }
    const { records, end, damagedBytes } = readFileFrames(content);
    if (content.length < FILE_SIGNATURE.length) return this.#create();
    this.#end = end;
    if (damagedBytes === 0) {
      await this.#file.truncate(end);
      return { records };
    }
    const copy = `${this.#path}.damaged-${Date.now()}`;
    await copyFile(this.#path, copy);
    const damage = new Error(
      `"${this.#path}" is damaged: ${damagedBytes} bytes are lost; a copy is at "${copy}"`,
    );
    return { records, damage };
  }

  async append(record: Uint8Array): Promise<void> {
    if (this.#syncError) {
      const error = this.#syncError;
      this.#syncError = undefined;
      throw error;
    }
    const frame = encodeFileFrame(record);
    await writeAll(this.#file, frame, this.#end);
    // Not before: a frame that was written in part is overwritten by the next one.
    this.#end += frame.length;
    if (this.#syncMs === 0) await this.#file.datasync();
    else this.#syncSoon();
  }

  async replace(records: Iterable<Uint8Array>): Promise<void> {
    const path = `${this.#path}.new`;
    const file = await open(path, "w+", 0o600);
    let end = 0;
    try {
      end = await writeAll(file, FILE_SIGNATURE, end);
      for (const record of records) end = await writeAll(file, encodeFileFrame(record), end);
      await file.sync();
      await rename(path, this.#path);
      await syncFolder(dirname(this.#path));
    } catch (error) {
      await file.close();
      throw error;
    }
    const previous = this.#file;
    await this.#syncing;
    this.#file = file;
    this.#end = end;
    this.#syncError = undefined;
    await previous.close();
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    clearTimeout(this.#syncTimer);
    try {
      await this.#syncing;
      await this.#file.datasync();
    } finally {
      await this.#file.close();
      await this.#unlock();
    }
  }

  async #create(): Promise<LoadedRecords> {
    this.#end = await writeAll(this.#file, FILE_SIGNATURE, 0);
    await this.#file.sync();
    await syncFolder(dirname(this.#path));
    return { records: [] };
  }

  #syncSoon(): void {
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = undefined;
      this.#syncing = this.#file.datasync().catch((error: unknown) => {
        // The next append() reports it.
        this.#syncError = error;
      });
    }, this.#syncMs).unref();
  }
}

/** Whether `content` begins with the header of a file, or is a part of it: creating the file was interrupted. */
const isPrefix = (content: Buffer): boolean =>
  FILE_SIGNATURE.subarray(0, content.length).equals(content.subarray(0, FILE_SIGNATURE.length));

/** The content of a file. Unlike readFile(), it begins at the beginning each time. */
async function readWhole(file: FileHandle): Promise<Buffer> {
  const content = Buffer.alloc((await file.stat()).size);
  for (let at = 0; at < content.length; ) {
    const { bytesRead } = await file.read(content, at, content.length - at, at);
    if (bytesRead === 0) return content.subarray(0, at);
    at += bytesRead;
  }
  return content;
}

/** Writes all of `bytes` at `position`, and returns the position after it. */
async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<number> {
  for (let at = 0; at < bytes.length; ) {
    at += (await file.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
  }
  return position + bytes.length;
}

/** Makes the names in a folder durable. Windows cannot, and does not need it. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
