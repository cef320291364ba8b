import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FolderError } from "./errors.js";
import { type Files, nodeFiles, replaceFile } from "./files.js";

/** The format of data folders that this version writes. */
export const FORMAT = 1;

const NAME = "format.json";

/** Migrates a folder to the next format. It may be interrupted, and then runs again. */
export type Migration = (files: Files, folder: string) => Promise<void>;

/** The migrations by the format that they migrate from. */
const MIGRATIONS: Readonly<Record<number, Migration>> = {};

/** The folders in a data folder. */
export const partsOf = (folder: string) => ({
  tree: join(folder, "tree"),
  logs: join(folder, "logs"),
  blobs: join(folder, "blobs"),
});

/** The format of the folder; undefined if it is empty. Fails if it is not a data folder. */
export async function folderFormat(files: Files, folder: string): Promise<number | undefined> {
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

/** Initializes an empty folder, or migrates it to this version's format. */
export async function prepareFolder(
  files: Files,
  folder: string,
  migrations: Readonly<Record<number, Migration>> = MIGRATIONS,
): Promise<void> {
  const write = (format: number) => writeFormat(files, folder, format);
  const present = await folderFormat(files, folder);
  if (present === undefined) return write(FORMAT);
  const cannot = `Cannot open the data folder "${folder}"`;
  if (present > FORMAT) {
    const why = `its format is ${present}, a newer version's; this one reads up to ${FORMAT}`;
    throw new FolderError(`${cannot}: ${why}`);
  }
  for (let format = present; format < FORMAT; format++) {
    const migrate = migrations[format];
    if (!migrate) throw new FolderError(`${cannot}: nothing reads its format ${format} any more`);
    await migrate(files, folder);
    await write(format + 1);
  }
}

/** Writes the format file, which marks the folder as complete. */
export function writeFormat(files: Files, folder: string, format = FORMAT): Promise<void> {
  const content = Buffer.from(`${JSON.stringify({ engine: "fairlead disk", format })}\n`);
  return replaceFile(files, folder, join(folder, NAME), content);
}

/** Creates the folder and its missing parents durably. */
export async function makeFolder(files: Files, folder: string): Promise<void> {
  const missing: string[] = [];
  for (let path = folder; !(await exists(path)); path = dirname(path)) missing.push(path);
  await files.mkdir(folder);
  // A folder that may not be read cannot be synced. The system then decides when its names become durable.
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

/** Creates `folder` if it is missing. Fails if it is not empty. */
export async function requireEmptyFolder(folder: string): Promise<void> {
  await makeFolder(nodeFiles, folder);
  const [first] = await readdir(folder);
  if (first !== undefined)
    throw new FolderError(`Cannot write to "${folder}": it is not empty, "${first}" is there`);
}

/** Syncs `folder` and all folders in it. */
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
