import { open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { DamageError } from "./errors.js";
import { readStoreLog } from "./store-log.js";
import { manifestOf, type StoreManifest, type TableFacts } from "./store-manifest.js";

/** A table of a store, with the path of its file. */
export type StoreTable = TableFacts & { path: string };

/** The tables of a store, and the batches of each journal that are not in a table yet. */
export type StoreParts = { tables: StoreTable[]; journals: Buffer[][] };

type OnDamage = (error: DamageError) => void;

/**
 * Checks the manifest and the journals of `folder` before LevelDB opens it, as LevelDB ignores a broken journal. Throws
 * a DamageError if anything that was synced is missing. A torn end of the manifest is truncated: it was never synced.
 */
export async function checkStore(folder: string): Promise<StoreTable[]> {
  const { tables, manifest } = await partsIn(folder, (error) => {
    throw error;
  });
  if (manifest?.isTorn) await truncate(manifest.path, manifest.end);
  return tables;
}

/** Reads the manifest and the journals without changing anything. Reports every damage, and returns the rest. */
export const readStoreParts = (folder: string, damaged: OnDamage): Promise<StoreParts> =>
  partsIn(folder, damaged);

/**
 * Removes the last record of the newest journal if it contains `mark`. The closed store may have written it although
 * the write failed.
 */
export async function dropLastRecord(folder: string, mark: Buffer): Promise<void> {
  const journals = (await readdir(folder)).filter((name) => name.endsWith(".log"));
  const newest = journals.sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10)).at(-1);
  if (newest === undefined) return;
  const path = join(folder, newest);
  const { records, lastStart } = readStoreLog(await readFile(path));
  if (records.at(-1)?.includes(mark)) await truncate(path, lastStart);
}

async function truncate(path: string, end: number): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.truncate(end);
    await file.datasync();
  } finally {
    await file.close();
  }
}

type Manifest = StoreManifest & { path: string; end: number; isTorn: boolean };

async function partsIn(
  folder: string,
  damaged: OnDamage,
): Promise<StoreParts & { manifest: Manifest | undefined }> {
  const names: string[] = await readdir(folder).catch((error: { code?: string }) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const manifest = await manifestIn(folder, names).catch((error: unknown) => {
    if (!(error instanceof DamageError)) throw error;
    damaged(error);
    return undefined;
  });
  if (!manifest) return { tables: [], journals: [], manifest };
  const { journal, tables } = manifest;
  const missing = (name: string) => {
    // LevelDB deletes a file after it has synced the record that removes it: then the torn record had been synced.
    if (manifest.isTorn)
      damaged(new DamageError(manifest.path, `the record at byte ${manifest.end} is broken`));
    damaged(new DamageError(join(folder, name), "it is missing"));
  };
  if (journal > 0 && !names.includes(`${numbered(journal)}.log`)) missing(`${numbered(journal)}.log`);
  const journals: Buffer[][] = [];
  for (const name of names.filter((one) => Number(/^(\d+)\.log$/.exec(one)?.[1]) >= journal).sort()) {
    const path = join(folder, name);
    const { records, isDamaged, end } = readStoreLog(await readFile(path));
    if (isDamaged) {
      damaged(new DamageError(path, `it is broken at byte ${end}, before later records`));
    }
    journals.push(records);
  }
  const present: StoreTable[] = [];
  for (const [number, facts] of tables) {
    const either = [`${numbered(number)}.ldb`, `${numbered(number)}.sst`];
    const name = either.find((one) => names.includes(one));
    if (name === undefined) missing(either[0] as string);
    else present.push({ ...facts, path: join(folder, name) });
  }
  return { tables: present, journals, manifest };
}

const numbered = (number: number): string => String(number).padStart(6, "0");

/** The manifest that CURRENT names; undefined if there is no data, as after an interrupted first opening. */
async function manifestIn(folder: string, names: readonly string[]): Promise<Manifest | undefined> {
  const current = join(folder, "CURRENT");
  if (!names.includes("CURRENT")) {
    if (await hasData(folder, names)) throw new DamageError(current, "it is missing");
    return undefined;
  }
  const name = (await readFile(current, "utf8")).replace(/\n$/, "");
  if (!names.includes(name) || !name.startsWith("MANIFEST-")) {
    throw new DamageError(current, `it names ${JSON.stringify(name.slice(0, 100))}, which is missing`);
  }
  const path = join(folder, name);
  const file = await readFile(path);
  const { records, end, isDamaged } = readStoreLog(file);
  if (isDamaged || records.length === 0) throw new DamageError(path, `the record at byte ${end} is broken`);
  try {
    return { ...manifestOf(records), path, end, isTorn: end < file.length };
  } catch (error) {
    throw error instanceof RangeError ? new DamageError(path, error.message) : error;
  }
}

async function hasData(folder: string, names: readonly string[]): Promise<boolean> {
  if (names.some((name) => /\.(ldb|sst)$/.test(name))) return true;
  for (const name of names.filter((one) => one.endsWith(".log"))) {
    if ((await stat(join(folder, name))).size > 0) return true;
  }
  return false;
}
