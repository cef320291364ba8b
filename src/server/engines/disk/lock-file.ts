import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { link, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as later } from "node:timers/promises";
import { FolderError } from "./faults.js";

/** Who has a folder open. */
type Holder = {
  id: string;
  pid: number;
  startedAt: string | undefined;
  host: string;
};

const NAME = "lock";

/** How often the holder shows that it is alive, and for how long a holder on another machine may seem dead. */
const BEAT_MS = 1000;
const SILENT_MS = 5000;

/** The locks of this process: its own number says nothing, where every process is the first of its container. */
const held = new Set<string>();

/** A folder that is this process's own until release(). */
export interface FolderLock {
  /** Whether whoever held it last has not released it. */
  wasHeld: boolean;
  release(): Promise<void>;
}

/**
 * Takes the folder for this process; fails with who has it. `lost` is called where another process has taken the
 * folder all the same.
 */
export async function lockFolder(folder: string, lost: () => void): Promise<FolderLock> {
  const path = join(folder, NAME);
  const holder: Holder = {
    id: randomUUID(),
    pid: process.pid,
    startedAt: startOf(process.pid),
    host: hostname(),
  };
  const aside = `${path}.${holder.id}`;
  await writeFile(aside, JSON.stringify(holder));
  let wasHeld = false;
  try {
    while (!(await linked(aside, path))) {
      const other = await holderOf(folder);
      if (other && (await isAlive(other, path))) throw inUse(folder, other);
      wasHeld = true;
      if (other) await remove(path, other.id);
    }
  } finally {
    await rm(aside, { force: true });
  }
  held.add(holder.id);
  const beat = setInterval(() => void show(), BEAT_MS);
  beat.unref();
  const show = async () => {
    const now = new Date();
    await utimes(path, now, now).catch(() => {});
    const present = await holderOf(folder).catch(() => undefined);
    if (present && present.id !== holder.id) {
      clearInterval(beat);
      lost();
    }
  };
  return {
    wasHeld,
    async release() {
      clearInterval(beat);
      if (!held.delete(holder.id)) return;
      await remove(path, holder.id);
    },
  };
}

/** Who has the folder, if the lock can be read. */
async function holderOf(folder: string): Promise<Holder | undefined> {
  try {
    return JSON.parse(await readFile(join(folder, NAME), "utf8")) as Holder;
  } catch (error) {
    // It is whole as soon as it is there: what is not JSON was cut by a failing disk, and is nobody's.
    if (error instanceof SyntaxError) return { id: "", pid: 0, startedAt: undefined, host: hostname() };
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether the holder of the folder runs. */
export async function isHeld(folder: string): Promise<Holder | undefined> {
  const holder = await holderOf(folder);
  return holder && (await isAlive(holder, join(folder, NAME))) ? holder : undefined;
}

function inUse(folder: string, { pid, host }: Holder): FolderError {
  const where = host === hostname() ? "" : ` on ${host}`;
  return new FolderError(`Cannot open the data folder "${folder}": process ${pid}${where} has it open`);
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

/** Removes the lock of this holder, and no one else's. */
async function remove(path: string, id: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return;
    throw error;
  }
  const moved = JSON.parse(await readFile(aside, "utf8").catch(() => "{}")) as Partial<Holder>;
  // Another one had taken it over meanwhile, and gets it back.
  if (moved.id !== undefined && moved.id !== id) await linked(aside, path);
  await rm(aside, { force: true });
}

async function isAlive(holder: Holder, path: string): Promise<boolean> {
  if (holder.host !== hostname()) return isBeating(path);
  if (holder.pid === process.pid) return held.has(holder.id);
  if (!isRunning(holder.pid)) return false;
  const startedAt = startOf(holder.pid);
  // The number may be another process's by now.
  return startedAt === undefined || holder.startedAt === undefined || startedAt === holder.startedAt;
}

async function isBeating(path: string): Promise<boolean> {
  const timeOf = async () => (await stat(path).catch(() => undefined))?.mtimeMs;
  const before = await timeOf();
  for (const deadlineMs = Date.now() + SILENT_MS; Date.now() < deadlineMs; ) {
    await later(BEAT_MS / 2);
    if ((await timeOf()) !== before) return true;
  }
  return false;
}

function isRunning(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

/** When the process was started, where the system tells. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    // What stands behind the name, which may have any character: the 22nd field of all.
    return `${boot} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`;
  } catch {
    return undefined;
  }
}
