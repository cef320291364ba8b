import { readdir, readFile, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { DamageError } from "./faults.js";
import { readStoreLog } from "./store-log.js";
import { manifestOf, type StoreManifest } from "./store-manifest.js";

/** The tables of a store that was looked at, with their bytes. */
export type StoreTable = { path: string; size: number };

/**
 * Looks at what LevelDB reads when it opens `folder`, as it passes over a broken journal in silence: fails as damaged
 * where anything that was synced is not there. A torn end of the manifest is cut off: no one waited for it.
 */
export async function checkStore(folder: string): Promise<StoreTable[]> {
  const names: string[] = await readdir(folder).catch((error: { code?: string }) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const current = join(folder, "CURRENT");
  if (!names.includes("CURRENT")) {
    // The first opening may have been interrupted: then there is no data yet.
    if (await hasData(folder, names)) throw new DamageError(current, "it is missing");
    return [];
  }
  const name = (await readFile(current, "utf8")).replace(/\n$/, "");
  if (!names.includes(name))
    throw new DamageError(current, `it names ${JSON.stringify(name)}, which is missing`);
  const manifest = await readManifest(join(folder, name));
  if (manifest.journal > 0) await mustHave(folder, names, [`${numbered(manifest.journal)}.log`]);
  for (const journal of names.filter((one) => Number(/^(\d+)\.log$/.exec(one)?.[1]) >= manifest.journal)) {
    const path = join(folder, journal);
    if (readStoreLog(await readFile(path)).isDamaged) {
      throw new DamageError(path, "it is broken in front of what was written later");
    }
  }
  const tables: StoreTable[] = [];
  for (const [number, size] of manifest.tables) {
    const found = await mustHave(folder, names, [`${numbered(number)}.ldb`, `${numbered(number)}.sst`]);
    tables.push({ path: join(folder, found), size });
  }
  return tables;
}

/**
 * Takes back the last record of the journal where it has `mark` in it. The store, which is closed, may have written it
 * although it had failed to.
 */
export async function takeBack(folder: string, mark: Buffer): Promise<void> {
  const journals = (await readdir(folder)).filter((name) => name.endsWith(".log"));
  const newest = journals.sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10)).at(-1);
  if (newest === undefined) return;
  const path = join(folder, newest);
  const { records, lastStart } = readStoreLog(await readFile(path));
  if (records.at(-1)?.includes(mark)) await truncate(path, lastStart);
}

const numbered = (number: number): string => String(number).padStart(6, "0");

async function hasData(folder: string, names: readonly string[]): Promise<boolean> {
  if (names.some((name) => /\.(ldb|sst)$/.test(name))) return true;
  for (const name of names.filter((one) => one.endsWith(".log"))) {
    if ((await stat(join(folder, name))).size > 0) return true;
  }
  return false;
}

async function mustHave(folder: string, names: readonly string[], either: string[]): Promise<string> {
  const found = either.find((name) => names.includes(name));
  if (found === undefined) throw new DamageError(join(folder, either[0] ?? ""), "it is missing");
  return found;
}

async function readManifest(path: string): Promise<StoreManifest> {
  const file = await readFile(path);
  const { records, end, isDamaged } = readStoreLog(file);
  if (isDamaged || records.length === 0) throw new DamageError(path, `the record at byte ${end} is broken`);
  try {
    const manifest = manifestOf(records);
    if (end < file.length) await truncate(path, end);
    return manifest;
  } catch (error) {
    throw error instanceof RangeError ? new DamageError(path, error.message) : error;
  }
}
