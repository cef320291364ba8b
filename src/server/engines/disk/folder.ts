import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FolderError } from "./errors.js";
import { type Files, nodeFiles, replaceFile } from "./files.js";

/** The format of the folders that this version writes. */
export const FORMAT = 1;

const NAME = "format.json";

/** Makes a folder of one format one of the next. It may be interrupted, and is then begun anew. */
export type Migration = (files: Files, folder: string) => Promise<void>;

/** By the format that they begin with. */
const MIGRATIONS: Readonly<Record<number, Migration>> = {};

/** Parts of a data folder. */
export const partsOf = (folder: string) => ({
  tree: join(folder, "tree"),
  logs: join(folder, "logs"),
  blobs: join(folder, "blobs"),
});

/** The format of the folder; undefined where it holds nothing. Fails where it is something else's. */
export async function formatOf(files: Files, folder: string): Promise<number | undefined> {
  const path = join(folder, NAME);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
    const others = (await files.readdir(folder)).filter(
      (name) => !/^(lock|backup|format\.json\.tmp)/.test(name),
    );
    if (others.length === 0) return undefined;
    const known = others.some((name) => ["tree", "logs", "blobs"].includes(name));
    const why = known ? `${NAME} is missing` : `it has other things in it, as "${others[0]}", and no ${NAME}`;
    throw new FolderError(`Cannot use "${folder}" as a data folder: ${why}`);
  }
  const { format } = readJson(text);
  if (typeof format === "number" && Number.isInteger(format)) return format;
  throw new FolderError(`Cannot open the data folder "${folder}": ${path} is damaged: it has no format`);
}

/** Makes the folder one of this version's format. */
export async function prepareFolder(
  files: Files,
  folder: string,
  migrations: Readonly<Record<number, Migration>> = MIGRATIONS,
): Promise<void> {
  const write = (format: number) => writeFormat(files, folder, format);
  const found = await formatOf(files, folder);
  if (found === undefined) return write(FORMAT);
  if (found > FORMAT) {
    throw new FolderError(
      `Cannot open the data folder "${folder}": its format is ${found}, a newer version's; this one reads up to ${FORMAT}`,
    );
  }
  for (let format = found; format < FORMAT; format++) {
    const migrate = migrations[format];
    if (!migrate) {
      throw new FolderError(
        `Cannot open the data folder "${folder}": nothing reads its format ${format} any more`,
      );
    }
    await migrate(files, folder);
    await write(format + 1);
  }
}

/** Says that the folder is whole, and of this format. */
export function writeFormat(files: Files, folder: string, format = FORMAT): Promise<void> {
  const content = Buffer.from(`${JSON.stringify({ engine: "fairlead disk", format })}\n`);
  return replaceFile(files, folder, join(folder, NAME), content);
}

/** Makes the folder, where there is none, so that it is there after a power loss. */
export async function makeFolder(files: Files, folder: string): Promise<void> {
  const missing: string[] = [];
  for (let path = folder; !(await exists(path)); path = dirname(path)) missing.push(path);
  await files.mkdir(folder);
  // A folder that may not be read cannot be synced: then it is the system's to make its names durable.
  for (const path of missing) {
    await files.syncFolder(dirname(path)).catch((error: { code?: string }) => {
      if (error.code !== "EACCES") throw error;
    });
  }
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    (error: { code?: string }) => error.code !== "ENOENT",
  );

/** Fails unless there is nothing at `folder`, and makes it where it is missing. */
export async function requireEmptyFolder(folder: string): Promise<void> {
  await makeFolder(nodeFiles, folder);
  const [first] = await readdir(folder);
  if (first !== undefined)
    throw new FolderError(`Cannot write to "${folder}": it is not empty, "${first}" is there`);
}

/** Makes durable which files there are in `folder` and all beneath it. */
export async function syncFolders(files: Files, folder: string): Promise<void> {
  for (const name of await readdir(folder, { recursive: true })) {
    if ((await stat(join(folder, name))).isDirectory()) await files.syncFolder(join(folder, name));
  }
  await files.syncFolder(folder);
}

function readJson(text: string): { format?: unknown } {
  try {
    return Object(JSON.parse(text)) as { format?: unknown };
  } catch {
    return {};
  }
}
