import { close, fdatasync, fsync, ftruncate, open, write } from "node:fs";
import { mkdir, readdir, rename, unlink } from "node:fs/promises";
import { promisify } from "node:util";

const [openAt, closeAt, syncData, syncAll, cut] = [open, close, fdatasync, fsync, ftruncate].map((call) =>
  promisify(call as (...args: unknown[]) => void),
) as ((...args: unknown[]) => Promise<unknown>)[] as [
  (path: string, flags: string, mode?: number) => Promise<number>,
  (fd: number) => Promise<void>,
  (fd: number) => Promise<void>,
  (fd: number) => Promise<void>,
  (fd: number, length: number) => Promise<void>,
];

/** A file that is written to. Whoever reads it does so by `fd`. */
export interface OpenFile {
  /** What the system calls it by. */
  readonly fd: number;
  /** Writes all of `bytes` from `position` on. Not durable before sync(). */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Resolves when what was written is on the disk. */
  sync(): Promise<void>;
  /** Cuts it to `length` bytes. Not durable before sync(). */
  truncate(length: number): Promise<void>;
  /** Gives it back to the system. */
  close(): Promise<void>;
}

/**
 * All by which the engine changes a file system. A test puts one in its place that loses what was not synced, or that
 * is full; the engine reads what it has written by Node's own functions.
 */
export interface Files {
  /** Opens a file: to be read, to be read and written, or the same anew and empty, for nobody else to read. */
  open(path: string, flags: "r" | "r+" | "w+"): Promise<OpenFile>;
  /** Makes a folder, and those it lies in, where there is none, for nobody else to enter. */
  mkdir(path: string): Promise<void>;
  /** The names in a folder. */
  readdir(path: string): Promise<string[]>;
  /** Moves a file, over one that is there. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file. */
  unlink(path: string): Promise<void>;
  /** Makes durable which files the folder has. */
  syncFolder(path: string): Promise<void>;
}

/** Node's own files. */
export const nodeFiles: Files = {
  async open(path, flags) {
    return new NodeFile(await openAt(path, flags, 0o600));
  },
  async mkdir(path) {
    await mkdir(path, { recursive: true, mode: 0o700 });
  },
  readdir: (path) => readdir(path),
  rename,
  unlink,
  async syncFolder(path) {
    // Windows does not open folders, and needs not to.
    if (process.platform === "win32") return;
    const fd = await openAt(path, "r");
    try {
      await syncAll(fd);
    } finally {
      await closeAt(fd);
    }
  },
};

class NodeFile implements OpenFile {
  readonly fd: number;

  constructor(fd: number) {
    this.fd = fd;
  }

  write(bytes: Uint8Array, position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const from = (at: number) =>
        write(this.fd, bytes, at, bytes.length - at, position + at, (error, written) => {
          if (error) reject(error);
          else if (at + written < bytes.length) from(at + written);
          else resolve();
        });
      from(0);
    });
  }

  sync(): Promise<void> {
    return syncData(this.fd);
  }

  truncate(length: number): Promise<void> {
    return cut(this.fd, length);
  }

  close(): Promise<void> {
    return closeAt(this.fd);
  }
}

/** Puts `bytes` at `path` so that there is what was there before, or all of it, whenever the power fails. */
export async function replaceFile(files: Files, folder: string, path: string, bytes: Uint8Array) {
  const aside = `${path}.tmp`;
  const file = await files.open(aside, "w+");
  try {
    await file.write(bytes, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await files.rename(aside, path);
  await files.syncFolder(folder);
}
