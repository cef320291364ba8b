import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { DamageError } from "./faults.js";
import { type Files, replaceFile } from "./files.js";

/** What the tree consists of. It is replaced as a whole. */
export interface Manifest {
  /** The tables' numbers, the newest first. */
  tables: number[];
  /** The number of the first journal file that has something which no table has. */
  journal: number;
  /** The number of the first frame of that file. */
  sequence: number;
  /** Versions up to here are in the tables. */
  counter: bigint;
}

export const MANIFEST = "manifest.json";

/** The name of the table of this number. */
export const tableName = (number: number): string => `table-${String(number).padStart(10, "0")}`;

/** The numbers of the tables in the folder. */
export const tablesIn = (names: readonly string[]): number[] =>
  names.flatMap((name) => (/^table-\d{10}$/.test(name) ? [Number(name.slice("table-".length))] : []));

export const encodeManifest = ({ counter, ...rest }: Manifest): Buffer => {
  const content = JSON.stringify({ ...rest, counter: String(counter) });
  return Buffer.from(`${JSON.stringify({ content, crc32: crc32(content) })}\n`);
};

export const saveManifest = (files: Files, folder: string, manifest: Manifest): Promise<void> =>
  replaceFile(files, folder, join(folder, MANIFEST), encodeManifest(manifest));

/** The manifest of the tree in `folder`; undefined where there is none. */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const path = join(folder, MANIFEST);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const { content, crc32: sum } = JSON.parse(text) as { content: string; crc32: number };
    if (crc32(content) !== sum) throw new DamageError(path, "its checksum is not that of its content");
    const { counter, ...rest } = JSON.parse(content) as Omit<Manifest, "counter"> & { counter: string };
    return { ...rest, counter: BigInt(counter) };
  } catch (error) {
    if (error instanceof DamageError) throw error;
    throw new DamageError(path, "it is not JSON");
  }
}
