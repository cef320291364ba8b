import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { link, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as later } from "node:timers/promises";
import { FolderError, isReadOnlyError } from "./errors.js";
import { acquireSystemLock } from "./system-lock.js";

/** Who has a folder open. */
type Holder = {
  id: string;
  pid: number;
  host: string;
  /** Which running kernel: one that has the same sees the same system locks. Missing: as the host. */
  machine?: string;
};

const NAME = "lock";

/** How often the holder shows that it is alive, and for how long a holder on another machine may seem dead. */
const BEAT_MS = 1000;
const SILENT_MS = 5000;

/** How long a process that was killed may take to end. */
const ENDING_MS = 2000;

/** A folder that is this process's own until release(). */
export interface FolderLock {
  release(): Promise<void>;
}

/**
 * Takes the folder for this process; fails with who has it. The system's lock decides between the processes and
 * containers of one machine; where its locks do not reach, between machines, the file `lock` whose time goes on does.
 * `lost` is called where another process has taken the folder all the same.
 */
export async function lockFolder(folder: string, lost: () => void): Promise<FolderLock> {
  const path = join(folder, NAME);
  const releaseSystem = await takeFromTheDead(folder);
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
  const beat = setInterval(() => void show(), BEAT_MS);
  beat.unref();
  const show = async () => {
    const now = new Date();
    await utimes(path, now, now).catch(() => {});
    const present = await holderOf(folder).catch(() => undefined);
    if (!present || present.id === holder.id || isLost) return;
    isLost = true;
    clearInterval(beat);
    lost();
  };
  let released: Promise<void> | undefined;
  const release = async () => {
    clearInterval(beat);
    await remove(path, holder.id);
    await releaseSystem();
  };
  return { release: () => (released ??= release()) };
}

/** Takes the system's lock: that of a process which has just been killed is free once the system has ended its threads. */
async function takeFromTheDead(folder: string): ReturnType<typeof acquireSystemLock> {
  for (const endMs = performance.now() + ENDING_MS; ; await later(20)) {
    const release = await acquireSystemLock(folder);
    if (release || performance.now() > endMs) return release;
    const holder = await holderOf(folder);
    if (!holder || isRunning(holder.pid)) return undefined;
  }
}

/** Whether the process runs: one that is a zombie does not. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as { code?: string }).code !== "EPERM") return false;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // Behind the name, which may have any character.
    return stat[stat.lastIndexOf(")") + 2] !== "Z";
  } catch {
    return true;
  }
}

/** Says whose the folder is. The system's lock has been taken. */
async function writeLock(folder: string, path: string, holder: Holder): Promise<void> {
  const aside = `${path}.${holder.id}`;
  await writeFile(aside, JSON.stringify(holder), { mode: 0o600 });
  try {
    while (!(await linked(aside, path))) {
      const other = await holderOf(folder);
      if (other && !isHere(other) && (await isBeating(path))) throw folderInUse(folder, other);
      await remove(path, other?.id);
    }
  } finally {
    await rm(aside, { force: true });
  }
}

/** Who has the folder open, if anyone has. Where nothing may be written, only what `lock` shows is known. */
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

/** Why nobody else may have the folder. */
export function folderInUse(folder: string, holder: Holder | undefined): FolderError {
  const where = !holder || holder.host === hostname() ? "" : ` on ${holder.host}`;
  const who = holder ? `process ${holder.pid}${where}` : "another process";
  return new FolderError(`Cannot open the data folder "${folder}": ${who} has it open`);
}

/** Who has the folder, if the lock can be read: what is not JSON was cut by a failing disk, and is nobody's. */
async function holderOf(folder: string): Promise<Holder | undefined> {
  try {
    return parsed(await readFile(join(folder, NAME), "utf8"));
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw error;
  }
}

function parsed(text: string): Holder | undefined {
  try {
    const holder = JSON.parse(text) as Partial<Holder> | null;
    return typeof holder?.id === "string" && typeof holder.host === "string" ? (holder as Holder) : undefined;
  } catch {
    return undefined;
  }
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === "EEXIST") return false;
    throw error;
  }
}

/** Removes the lock of this holder, and no one else's; undefined: one that nobody can read. */
async function remove(path: string, id: string | undefined): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return;
    throw error;
  }
  const moved = parsed(await readFile(aside, "utf8").catch(() => ""));
  // Another one had taken it over meanwhile, and gets it back.
  if (moved && moved.id !== id) await linked(aside, path);
  await rm(aside, { force: true });
}

/** What a process left behind that was killed while it took or gave back the folder. */
async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (/^lock\.[0-9a-f]{8}-[0-9a-f-]{27}$/.test(name)) await rm(join(folder, name), { force: true });
  }
}

/** Whether the holder's system locks are seen here: then it is gone, as this process has got the lock. */
const isHere = ({ host, machine: of }: Holder): boolean =>
  of === undefined ? host === hostname() : of === machine();

async function isBeating(path: string): Promise<boolean> {
  const timeOf = async () => (await stat(path).catch(() => undefined))?.mtimeMs;
  const before = await timeOf();
  for (const endMs = performance.now() + SILENT_MS; performance.now() < endMs; ) {
    await later(BEAT_MS / 2);
    if ((await timeOf()) !== before) return true;
  }
  return false;
}

/** The running kernel, where the system tells; else the host's name. */
function machine(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return hostname();
  }
}
