import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { quote } from "../lib/quote.js";
import {
  backUpFolder,
  checkFolder,
  isStoreInstalled,
  restore as restoreFolder,
  STORE_PACKAGE,
} from "../server/disk.js";
import { parseCommandLine, UsageError } from "./command-line.js";
import { reasonOf } from "./error-text.js";
import { installCommand } from "./install-command.js";

/** `fairlead backup DIR OUT`: copies a data folder as it is at one moment, even while a server uses it. */
export async function backupCommand(args: string[]): Promise<number> {
  const [folder, to] = folders("backup DIR OUT", args, 2);
  await requireFolder(folder);
  makePrivate();
  await requireStore("backup DIR OUT");
  await backUpFolder(folder, to);
  process.stdout.write(`${folder} is backed up to ${to}\n`);
  return 0;
}

/** `fairlead restore BACKUP DIR`: creates a data folder from a backup. */
export async function restoreCommand(args: string[]): Promise<number> {
  const [from, folder] = folders("restore BACKUP DIR", args, 2);
  await requireFolder(from);
  makePrivate();
  await requireStore("restore BACKUP DIR");
  await restoreFolder(from, folder);
  process.stdout.write(`${from} is restored to ${folder}; to use it: fairlead serve --data ${folder}\n`);
  return 0;
}

/** `fairlead check DIR`: reads a whole data folder. Exit status 1 if anything is damaged. */
export async function checkCommand(args: string[]): Promise<number> {
  const [folder] = folders("check DIR", args, 1);
  await requireFolder(folder);
  await requireStore("check DIR");
  const { damaged, keys, logs, records, blobs } = await checkFolder(folder);
  process.stdout.write(
    `${folder}: ${keys} entries of keys, topics and lists, ${records} records in ${logs} logs, ${blobs} files\n`,
  );
  for (const line of damaged) process.stdout.write(`${line}\n`);
  process.stdout.write(
    damaged.length === 0
      ? "nothing is damaged\n"
      : "to restore a backup into another folder: fairlead restore BACKUP DIR\n",
  );
  return damaged.length === 0 ? 0 : 1;
}

/** Makes the files that this process creates private. LevelDB has no option for that, so it needs the umask. */
export function makePrivate(): void {
  process.umask(0o077);
}

/** Fails with the command that installs the disk engine's package, unless it is installed. */
export async function requireStore(command: string): Promise<void> {
  if (await isStoreInstalled()) return;
  throw new Error(
    `a data folder needs a package that is not installed: ${installCommand([STORE_PACKAGE], command)}`,
  );
}

function folders(usage: string, args: string[], count: 1): [string];
function folders(usage: string, args: string[], count: 2): [string, string];
function folders(usage: string, args: string[], count: number): string[] {
  const { positionals } = parseCommandLine(args, {}, count);
  if (positionals.length === count && !positionals.includes("")) return positionals;
  throw new UsageError(`usage: fairlead ${usage}`);
}

/** Fails with a UsageError unless `path` is a folder that this process can read. */
async function requireFolder(path: string): Promise<void> {
  const usageError = (why: string) => new UsageError(`Cannot read the folder ${quote(path)}: ${why}`);
  const stats = await stat(path).catch((error: unknown) => {
    throw usageError(reasonOf(error));
  });
  if (!stats.isDirectory()) throw usageError("it is a file, not a folder");
  await access(path, constants.R_OK | constants.X_OK).catch((error: unknown) => {
    throw usageError(reasonOf(error));
  });
}
