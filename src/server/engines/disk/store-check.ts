import { open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { DamageError } from "./errors.js";
import { readStoreLog } from "./store-log.js";
import { manifestOf, type StoreManifest, type TableFacts } from "./store-manifest.js";

/** A table of a store that was looked at. */
export type StoreTable = TableFacts & { path: string };

/** What a store has: its tables, and the batches of each journal that no table has yet. */
export type StoreParts = { tables: StoreTable[]; journals: Buffer[][] };

type OnDamage = (error: DamageError) => void;

/**
 * Looks at what LevelDB reads when it opens `folder`, as it passes over a broken journal in silence: fails as damaged
 * where anything that was synced is not there. A torn end of the manifest is cut off: no one waited for it.
 */
export async function checkStore(folder: string): Promise<StoreTable[]> {
  const { tables, manifest } = await partsIn(folder, (error) => {
    throw error;
  });
  if (manifest?.isTorn) await cut(manifest.path, manifest.end);
  return tables;
}

/** The same without changing anything: all that is damaged is told to `damaged`, and the rest is read all the same. */
export const readStoreParts = (folder: string, damaged: OnDamage): Promise<StoreParts> =>
  partsIn(folder, damaged);

/**
 * Takes back the last record of the journal where it has `mark` in it. The store, which is closed, may have written it
 * although it had failed to.
 */
export async function dropLastRecord(folder: string, mark: Buffer): Promise<void> {
  const journals = (await readdir(folder)).filter((name) => name.endsWith(".log"));
  const newest = journals.sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10)).at(-1);
  if (newest === undefined) return;
  const path = join(folder, newest);
  const { records, lastStart } = readStoreLog(await readFile(path));
  if (records.at(-1)?.includes(mark)) await cut(path, lastStart);
}

async function cut(path: string, end: number): Promise<void> {
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
    // What the record told that is broken was done before its end was written.
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
      damaged(new DamageError(path, `it is broken at byte ${end}, in front of what was written later`));
    }
    journals.push(records);
  }
  const found: StoreTable[] = [];
  for (const [number, facts] of tables) {
    const either = [`${numbered(number)}.ldb`, `${numbered(number)}.sst`];
    const name = either.find((one) => names.includes(one));
    if (name === undefined) missing(either[0] as string);
    else found.push({ ...facts, path: join(folder, name) });
  }
  return { tables: found, journals, manifest };
}

const numbered = (number: number): string => String(number).padStart(6, "0");

/** What CURRENT names; undefined where there is no data yet: the first opening may have been interrupted. */
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
