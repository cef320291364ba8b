import { createServer, parseConfig, type Server, type ServerOptions } from "../server/index.js";
import { backUpFolder, checkFolder, openDiskEngine, restore as restoreFolder } from "../server/node.js";

/** Where `fairlead serve` keeps its data when nothing else is said. */
export const DATA_FOLDER = "fairlead-data";

/** A server that keeps its data in the folder `data`, or in memory where there is none. */
export async function createServerOn(data: string | undefined, options: ServerOptions): Promise<Server> {
  if (data === undefined) return createServer(options);
  const { engines } = parseConfig(options.config);
  const engine = await openDiskEngine({ folder: data, ...engines.disk });
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
  await backUpFolder(folder, to);
  process.stdout.write(`${folder} is backed up to ${to}\n`);
  return 0;
}

/** `fairlead restore BACKUP DIR`: a data folder that is what the backup is. */
export async function restore(args: string[]): Promise<number> {
  const [from, folder] = folders("restore BACKUP DIR", args, 2);
  await restoreFolder(from, folder);
  process.stdout.write(`${from} is restored to ${folder}: fairlead serve --data ${folder}\n`);
  return 0;
}

/** `fairlead check DIR`: reads everything; the status is 1 where anything is damaged. */
export async function check(args: string[]): Promise<number> {
  const [folder] = folders("check DIR", args, 1);
  const { damaged, keys, logs, records, blobs } = await checkFolder(folder);
  process.stdout.write(
    `${folder}: ${keys} entries in tables, ${records} records in ${logs} logs, ${blobs} files\n`,
  );
  for (const line of damaged) process.stdout.write(`${line}\n`);
  process.stdout.write(
    damaged.length === 0
      ? "nothing is damaged\n"
      : "fairlead restore BACKUP DIR brings back a backup, into another folder\n",
  );
  return damaged.length === 0 ? 0 : 1;
}

function folders(usage: string, args: string[], count: 1): [string];
function folders(usage: string, args: string[], count: 2): [string, string];
function folders(usage: string, args: string[], count: number): string[] {
  if (args.length === count && args.every((arg) => arg !== "" && !arg.startsWith("-"))) return args;
  throw new Error(`it is called as fairlead ${usage}`);
}
