import { constants, existsSync } from "node:fs";
import { access, stat } from "node:fs/promises";
import {
  backUpFolder,
  checkFolder,
  isStoreInstalled,
  openDiskEngine,
  restore as restoreFolder,
  STORE_COMMAND,
} from "../server/disk.js";
import { createServer, parseConfig, type Server, type ServerOptions } from "../server/index.js";
import { parseCommandLine, shown, UsageError } from "./command-line.js";
import { reasonOf } from "./error-text.js";

/** Where `fairlead serve` keeps its data when nothing else is said. */
const DATA_FOLDER = "fairlead-data";

/** Where a server keeps its data: in a folder, or in memory, and why. */
export type Place = { folder: string } | { memory: string };

/**
 * Where `fairlead serve` keeps its data. Without the package that the disk engine needs that is memory, unless there is
 * data already: to begin without that would look as if it were lost.
 */
export async function placeOf(data: string | undefined, isMemory: boolean): Promise<Place> {
  if (isMemory) return { memory: "all is gone with the process" };
  if (data !== undefined) {
    await needStore();
    return { folder: data };
  }
  if (await isStoreInstalled()) return { folder: DATA_FOLDER };
  if (!existsSync(DATA_FOLDER)) {
    return { memory: `nothing is kept, as a package is missing; to keep it on disk: ${STORE_COMMAND}` };
  }
  throw new Error(
    `./${DATA_FOLDER} has data, and what reads it is not installed: ${STORE_COMMAND}, or --memory to begin without it`,
  );
}

/** A server that keeps its data at `place`. */
export async function createServerOn(place: Place, options: ServerOptions): Promise<Server> {
  if ("memory" in place) return createServer(options);
  const { engines } = parseConfig(options.config);
  const { log } = options;
  makePrivate();
  const engine = await openDiskEngine({ folder: place.folder, ...engines.disk, ...(log && { log }) });
  try {
    return createServer({ ...options, engine });
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** `fairlead backup DIR OUT`: a copy of what the data folder has, at one moment, also while a server runs on it. */
export async function backup(args: string[]): Promise<number> {
  const [folder, to] = folders("backup DIR OUT", args, 2);
  await mustBeFolder(folder);
  makePrivate();
  await needStore();
  await backUpFolder(folder, to);
  process.stdout.write(`${folder} is backed up to ${to}\n`);
  return 0;
}

/** `fairlead restore BACKUP DIR`: a data folder that is what the backup is. */
export async function restore(args: string[]): Promise<number> {
  const [from, folder] = folders("restore BACKUP DIR", args, 2);
  await mustBeFolder(from);
  makePrivate();
  await needStore();
  await restoreFolder(from, folder);
  process.stdout.write(`${from} is restored to ${folder}: fairlead serve --data ${folder}\n`);
  return 0;
}

/** `fairlead check DIR`: reads everything; the status is 1 where anything is damaged. */
export async function check(args: string[]): Promise<number> {
  const [folder] = folders("check DIR", args, 1);
  await mustBeFolder(folder);
  await needStore();
  const { damaged, keys, logs, records, blobs } = await checkFolder(folder);
  process.stdout.write(
    `${folder}: ${keys} entries of keys, topics and lists, ${records} records in ${logs} logs, ${blobs} files\n`,
  );
  for (const line of damaged) process.stdout.write(`${line}\n`);
  process.stdout.write(
    damaged.length === 0
      ? "nothing is damaged\n"
      : "fairlead restore BACKUP DIR brings back a backup, into another folder\n",
  );
  return damaged.length === 0 ? 0 : 1;
}

/** Makes files that this process writes private: LevelDB creates its files by the process's umask. */
function makePrivate(): void {
  process.umask(0o077);
}

async function needStore(): Promise<void> {
  if (await isStoreInstalled()) return;
  throw new Error(`a data folder needs a package that is not installed: ${STORE_COMMAND}`);
}

function folders(usage: string, args: string[], count: 1): [string];
function folders(usage: string, args: string[], count: 2): [string, string];
function folders(usage: string, args: string[], count: number): string[] {
  const { positionals } = parseCommandLine(args, {}, count);
  if (positionals.length === count && !positionals.includes("")) return positionals;
  throw new UsageError(`it is called as fairlead ${usage}`);
}

/** Fails with a UsageError unless `path` is a folder that this process can read. */
async function mustBeFolder(path: string): Promise<void> {
  const refuse = (why: string) => new UsageError(`Cannot read the folder ${shown(path)}: ${why}`);
  const found = await stat(path).catch((error: unknown) => {
    throw refuse(reasonOf(error));
  });
  if (!found.isDirectory()) throw refuse("it is a file, not a folder");
  await access(path, constants.R_OK | constants.X_OK).catch((error: unknown) => {
    throw refuse(reasonOf(error));
  });
}
