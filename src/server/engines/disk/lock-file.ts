import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { link, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FolderError, isReadOnlyError } from "./errors.js";
import { acquireSystemLock } from "./system-lock.js";

/** The process that has a folder open. */
type Holder = {
  id: string;
  pid: number;
  host: string;
  /** The boot id of the kernel: processes with the same one see the same system locks. Default: by `host`. */
  machine?: string;
};

const NAME = "lock";

/** The interval of the holder's heartbeat, and how long another machine watches for one. */
const HEARTBEAT_MS = 1000;
const HEARTBEAT_TIMEOUT_MS = 5000;

/** How long a killed process may take to end. */
const EXIT_TIMEOUT_MS = 2000;

/** The exclusive lock on a folder, until release(). */
export interface FolderLock {
  release(): Promise<void>;
}

/**
 * Locks the folder for this process. Fails with a FolderError that names the holder, if there is one. Between the
 * processes and containers of one machine, the system's lock decides; between machines, the heartbeat of the file
 * `lock`, which is its modification time. Calls `onLost` if another process takes the folder nevertheless.
 */
export async function lockFolder(folder: string, onLost: () => void): Promise<FolderLock> {
  const path = join(folder, NAME);
  const releaseSystem = await acquireFromExitedProcess(folder);
  if (!releaseSystem) throw folderInUse(folder, await holderOf(folder));
  const holder: Holder = { id: randomUUID(), pid: process.pid, host: hostname(), machine: machine() };
  try {
    await removeLeftovers(folder);
    await writeLock(folder, path, holder);
  } catch (error) {
    await releaseSystem();
    throw error;
  }
  let isLost = false;
  const heartbeat = setInterval(() => void beat(), HEARTBEAT_MS);
  heartbeat.unref();
  const beat = async () => {
    const now = new Date();
    await utimes(path, now, now).catch(() => {});
    const present = await holderOf(folder).catch(() => undefined);
    if (!present || present.id === holder.id || isLost) return;
    isLost = true;
    clearInterval(heartbeat);
    onLost();
  };
  let released: Promise<void> | undefined;
  const release = async () => {
    clearInterval(heartbeat);
    await remove(path, holder.id);
    await releaseSystem();
  };
  return { release: () => (released ??= release()) };
}

/** Acquires the system's lock. That of a process which was just killed is released when the system has ended it. */
async function acquireFromExitedProcess(folder: string): ReturnType<typeof acquireSystemLock> {
  for (const endMs = performance.now() + EXIT_TIMEOUT_MS; ; await sleep(20)) {
    const release = await acquireSystemLock(folder);
    if (release || performance.now() > endMs) return release;
    const holder = await holderOf(folder);
    if (!holder || isRunning(holder.pid)) return undefined;
  }
}

/** Whether the process is running. A zombie is not. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as { code?: string }).code !== "EPERM") return false;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The state follows the name, which is in parentheses and may contain any character.
    return stat[stat.lastIndexOf(")") + 2] !== "Z";
  } catch {
    return true;
  }
}

/** Writes the lock file. The caller has the system's lock. */
async function writeLock(folder: string, path: string, holder: Holder): Promise<void> {
  const temporary = `${path}.${holder.id}`;
  await writeFile(temporary, JSON.stringify(holder), { mode: 0o600 });
  try {
    while (!(await tryLink(temporary, path))) {
      const other = await holderOf(folder);
      if (other && !isHere(other) && (await isBeating(path))) throw folderInUse(folder, other);
      await remove(path, other?.id);
    }
  } finally {
    await rm(temporary, { force: true });
  }
}

/** The process that has the folder open, if any. In a read-only folder, only the lock file can be examined. */
export async function lockHolder(folder: string): Promise<Holder | undefined> {
  const path = join(folder, NAME);
  const holder = await holderOf(folder);
  if (!holder) return undefined;
  try {
    const release = await acquireSystemLock(folder);
    if (!release) return holder;
    await release();
    return !isHere(holder) && (await isBeating(path)) ? holder : undefined;
  } catch (error) {
    if (!isReadOnlyError(error)) throw error;
    return (await isBeating(path)) ? holder : undefined;
  }
}

/** The error of opening a folder that another process has open. */
export function folderInUse(folder: string, holder: Holder | undefined): FolderError {
  const where = !holder || holder.host === hostname() ? "" : ` on ${holder.host}`;
  const who = holder ? `process ${holder.pid}${where}` : "another process";
  return new FolderError(`Cannot open the data folder "${folder}": ${who} has it open`);
}

/** The holder in the lock file. A file that is not JSON was damaged by a power failure, and has no holder. */
async function holderOf(folder: string): Promise<Holder | undefined> {
  try {
    return parseHolder(await readFile(join(folder, NAME), "utf8"));
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw error;
  }
}

function parseHolder(text: string): Holder | undefined {
  try {
    const holder = JSON.parse(text) as Partial<Holder> | null;
    return typeof holder?.id === "string" && typeof holder.host === "string" ? (holder as Holder) : undefined;
  } catch {
    return undefined;
  }
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === "EEXIST") return false;
    throw error;
  }
}

/** Removes the lock file of this holder only; undefined: one that cannot be read. */
async function remove(path: string, id: string | undefined): Promise<void> {
  const temporary = `${path}.${randomUUID()}`;
  try {
    await rename(path, temporary);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return;
    throw error;
  }
  const moved = parseHolder(await readFile(temporary, "utf8").catch(() => ""));
  // Another process had taken over the lock in the meantime: restores its lock file.
  if (moved && moved.id !== id) await tryLink(temporary, path);
  await rm(temporary, { force: true });
}

/** Removes the temporary files of processes that were killed while they acquired or released the lock. */
async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (/^lock\.[0-9a-f]{8}-[0-9a-f-]{27}$/.test(name)) await rm(join(folder, name), { force: true });
  }
}

/** Whether this process sees the holder's system locks. If so, the holder has ended, as this process has the lock. */
const isHere = ({ host, machine: of }: Holder): boolean =>
  of === undefined ? host === hostname() : of === machine();

/** Whether the holder's heartbeat is seen within HEARTBEAT_TIMEOUT_MS. */
async function isBeating(path: string): Promise<boolean> {
  const timeOf = async () => (await stat(path).catch(() => undefined))?.mtimeMs;
  const before = await timeOf();
  for (const endMs = performance.now() + HEARTBEAT_TIMEOUT_MS; performance.now() < endMs; ) {
    await sleep(HEARTBEAT_MS / 2);
    if ((await timeOf()) !== before) return true;
  }
  return false;
}

/** The boot id of the running kernel, on Linux; elsewhere the host's name. */
function machine(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return hostname();
  }
}
