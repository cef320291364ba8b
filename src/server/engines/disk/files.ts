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

/** A file that is open for writing. Read it by its `fd`. */
export interface OpenFile {
  /** The file descriptor. */
  readonly fd: number;
  /** Writes all of `bytes` from `position` on. Not durable before sync(). */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Syncs the file: resolves when all writes are durable. */
  sync(): Promise<void>;
  /** Truncates the file to `length` bytes. Not durable before sync(). */
  truncate(length: number): Promise<void>;
  /** Closes the file. */
  close(): Promise<void>;
}

/**
 * The file system calls by which the engine writes. A test can replace them, to lose unsynced writes or to simulate a
 * full disk. The engine reads files by Node's own functions.
 */
export interface Files {
  /** Opens a file: "r" to read, "r+" to read and write, "w+" to create or empty it, readable by its owner only. */
  open(path: string, flags: "r" | "r+" | "w+"): Promise<OpenFile>;
  /** Creates a folder and its parents, if they are missing, accessible by their owner only. */
  mkdir(path: string): Promise<void>;
  /** Lists the names in a folder. */
  readdir(path: string): Promise<string[]>;
  /** Renames a file, and replaces an existing one. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file. */
  unlink(path: string): Promise<void>;
  /** Syncs a folder: resolves when the names in it are durable. */
  syncFolder(path: string): Promise<void>;
}

/** Node's file system. */
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
    // Windows can neither open folders nor needs to sync them.
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
      const writeFrom = (at: number) =>
        write(this.fd, bytes, at, bytes.length - at, position + at, (error, written) => {
          if (error) reject(error);
          else if (at + written < bytes.length) writeFrom(at + written);
          else resolve();
        });
      writeFrom(0);
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

/** Replaces the file at `path` atomically: after a power failure it has either its previous content or `bytes`. */
export async function replaceFile(files: Files, folder: string, path: string, bytes: Uint8Array) {
  const temporary = `${path}.tmp`;
  const file = await files.open(temporary, "w+");
  try {
    await file.write(bytes, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await files.rename(temporary, path);
  await files.syncFolder(folder);
}
