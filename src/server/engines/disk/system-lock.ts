import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ClassicLevel } from "classic-level";
import { FolderError, isReadOnlyError } from "./errors.js";
import { loadStore } from "./store-package.js";

/** The folder of a LevelDB that is never written to: while it is open, it has the system's lock on its file LOCK. */
const NAME = "lock.d";

/** The folders that this process has locked, by device and inode. */
const locked = new Set<string>();

/** The errors of file systems without locks. */
const LOCKS_UNSUPPORTED = /No locks available|not supported|not implemented/i;

/**
 * Acquires the operating system's lock on `folder`, and returns the function that releases it; undefined if the folder
 * is locked. The system releases the lock when the process ends, however it ends, and it also works between the
 * containers of one machine. Node has no API for such locks, so this opens a LevelDB, which takes one.
 */
export async function acquireSystemLock(folder: string): Promise<(() => Promise<void>) | undefined> {
  const { dev, ino } = await stat(folder, { bigint: true });
  const key = `${dev}:${ino}`;
  // A second LevelDB in the same process would release the lock of the first.
  if (locked.has(key)) return undefined;
  locked.add(key);
  try {
    const db = await openLock(join(folder, NAME));
    if (!db) locked.delete(key);
    return (
      db &&
      (async () => {
        await db.close();
        locked.delete(key);
      })
    );
  } catch (error) {
    locked.delete(key);
    throw error;
  }
}

async function openLock(path: string): Promise<ClassicLevel | undefined> {
  const { ClassicLevel } = await loadStore();
  await mkdir(path, { recursive: true, mode: 0o700 });
  for (let isCleared = false; ; isCleared = true) {
    const db = new ClassicLevel(path, { writeBufferSize: 64 * 1024 });
    try {
      await db.open();
      return db;
    } catch (error) {
      const { code, message = "" } = Object((error as { cause?: unknown }).cause) as {
        code?: string;
        message?: string;
      };
      if (code === "LEVEL_LOCKED" && LOCKS_UNSUPPORTED.test(message)) {
        throw new FolderError(`Cannot lock "${path}": its file system has no locks: ${message}`, error);
      }
      if (code === "LEVEL_LOCKED") return undefined;
      const cause = (error as { cause?: unknown }).cause ?? error;
      if (isCleared || isReadOnlyError(cause)) throw cause;
      // The LevelDB is damaged. It has no data, and the lock needs the file LOCK only.
      for (const name of await readdir(path)) {
        if (name !== "LOCK") await rm(join(path, name), { force: true });
      }
    }
  }
}
