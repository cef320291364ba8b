import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ClassicLevel } from "classic-level";
import { FolderError, isReadOnlyError } from "./errors.js";
import { loadStore } from "./store-package.js";

/** The folder whose LevelDB is never written to: while it is open, the system holds a lock on its file LOCK. */
const NAME = "lock.d";

/** The folders that this process has, by device and inode. */
const held = new Set<string>();

/** How the file systems that cannot lock refuse. */
const CANNOT_LOCK = /No locks available|not supported|not implemented/i;

/**
 * Takes the operating system's lock on `folder`: it is let go when the process ends, however that happens, and holds
 * between the containers of one machine. Node has no such locks, but LevelDB takes one. Undefined where it is taken.
 */
export async function acquireSystemLock(folder: string): Promise<(() => Promise<void>) | undefined> {
  const { dev, ino } = await stat(folder, { bigint: true });
  const key = `${dev}:${ino}`;
  // LevelDB is not asked a second time: it would let go of the lock that the process has.
  if (held.has(key)) return undefined;
  held.add(key);
  try {
    const db = await openLock(join(folder, NAME));
    if (!db) held.delete(key);
    return (
      db &&
      (async () => {
        await db.close();
        held.delete(key);
      })
    );
  } catch (error) {
    held.delete(key);
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
      if (code === "LEVEL_LOCKED" && CANNOT_LOCK.test(message)) {
        throw new FolderError(`Cannot lock "${path}": its file system has no locks: ${message}`, error);
      }
      if (code === "LEVEL_LOCKED") return undefined;
      const cause = (error as { cause?: unknown }).cause ?? error;
      if (isCleared || isReadOnlyError(cause)) throw cause;
      // Damaged: nothing is lost with it. Whoever has the lock needs no file but LOCK.
      for (const name of await readdir(path)) {
        if (name !== "LOCK") await rm(join(path, name), { force: true });
      }
    }
  }
}
