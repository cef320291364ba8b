import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { link, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/** The process that has a file open. `started`: when it started, so that a later process with its id is another one. */
type Owner = { id: string; pid: number; started: string; host: string };

/** The interval of the owner's heartbeat, and how long another machine watches for one. */
const HEARTBEAT_MS = 1000;
const HEARTBEAT_TIMEOUT_MS = 4000;

/** The locks of this process: a second one in the same process is refused as well. */
const owned = new Set<string>();

/**
 * Locks `path` by a file beside it, until the returned function is called. Rejects if another process, or another map
 * of this one, has it. The lock of a process that has ended is taken over; that of another machine after its heartbeat,
 * the modification time of the lock file, has stopped.
 */
export async function lockFile(path: string): Promise<() => Promise<void>> {
  const lock = `${path}.lock`;
  if (owned.has(lock)) throw new Error(`Cannot open "${path}": this process has it open already`);
  owned.add(lock);
  const owner: Owner = {
    id: randomUUID(),
    pid: process.pid,
    started: startOf(process.pid),
    host: hostname(),
  };
  try {
    await acquire(path, lock, owner);
  } catch (error) {
    owned.delete(lock);
    throw error;
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(lock, now, now).catch(() => {});
  }, HEARTBEAT_MS);
  heartbeat.unref();
  return async () => {
    clearInterval(heartbeat);
    await remove(lock, owner.id);
    owned.delete(lock);
  };
}

async function acquire(path: string, lock: string, owner: Owner): Promise<void> {
  const temporary = `${lock}.${owner.id}`;
  await writeFile(temporary, JSON.stringify(owner), { mode: 0o600 });
  try {
    while (!(await tryLink(temporary, lock))) {
      const other = await ownerOf(lock);
      if (other && (await isAlive(lock, other))) {
        throw new Error(`Cannot open "${path}": process ${other.pid} on ${other.host} has it open`);
      }
      await remove(lock, other?.id);
    }
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Unlike a rename, a link fails if the name is taken. */
async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** The owner in the lock file; undefined if there is none, or a power failure has damaged the file. */
async function ownerOf(lock: string): Promise<Owner | undefined> {
  try {
    const owner = JSON.parse(await readFile(lock, "utf8")) as Partial<Owner> | null;
    return typeof owner?.id === "string" ? (owner as Owner) : undefined;
  } catch {
    return undefined;
  }
}

/** Removes the lock file of this owner only; undefined: one that cannot be read. */
async function remove(lock: string, id: string | undefined): Promise<void> {
  const temporary = `${lock}.${randomUUID()}`;
  try {
    await rename(lock, temporary);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  const moved = await ownerOf(temporary);
  // Another process has taken over the lock in the meantime: its lock file is put back.
  if (moved && moved.id !== id) await tryLink(temporary, lock);
  await rm(temporary, { force: true });
}

async function isAlive(lock: string, { pid, started, host }: Owner): Promise<boolean> {
  if (host === hostname()) return isRunning(pid) && startOf(pid) === started;
  const timeOf = async () => (await stat(lock).catch(() => undefined))?.mtimeMs;
  const before = await timeOf();
  for (const endMs = performance.now() + HEARTBEAT_TIMEOUT_MS; performance.now() < endMs; ) {
    await sleep(HEARTBEAT_MS / 2);
    if ((await timeOf()) !== before) return true;
  }
  return false;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** When the process started, as the kernel counts; "" where it does not say, and for a process that has ended. */
function startOf(pid: number): string {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The fields follow the name, which is in parentheses and may contain any character. A zombie has ended.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? "" : (fields[19] ?? "");
  } catch {
    return "";
  }
}
