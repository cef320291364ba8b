import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readStoreLog } from "../../src/server/engines/disk/store-log.js";
import { manifestOf } from "../../src/server/engines/disk/store-manifest.js";
import { aroundBatches } from "./batches.js";

/** The bytes of each of LevelDB's journals. */
export type Sizes = Record<string, number>;

const SECTOR = 512;

/**
 * Calls `onSync` with the synced bytes of the journals after each batch with a sync, before its writer continues. No
 * other batch is being written then.
 */
export function watchSyncs(onSync: (folder: string, synced: Sizes) => void): void {
  aroundBatches(async (folder, write, isSynced) => {
    await write();
    if (isSynced) onSync(folder, journalsIn(folder));
  });
}

function journalsIn(folder: string): Sizes {
  const journals = readdirSync(folder).filter((name) => name.endsWith(".log"));
  return Object.fromEntries(
    journals.flatMap((name) => {
      // LevelDB may have replaced it by a table in the meantime.
      const found = statSync(join(folder, name), { throwIfNoEntry: false });
      return found ? [[name, found.size]] : [];
    }),
  );
}

/** The durable state of a LevelDB: the synced bytes of each journal, and the names in its folder. */
export type Sure = { synced: Sizes; names: ReadonlySet<string> };

/**
 * Copies a LevelDB as after a power failure: the synced bytes, and any part of the others. Nobody writes to it
 * meanwhile. A journal whose name is not durable may be missing, with all bytes that were synced in it.
 */
export function loseStore(
  folder: string,
  target: string,
  { synced, names: kept }: Sure,
  random: () => number,
): void {
  const files = readConsistently(folder);
  const names = [...files.keys()];
  const name = (files.get("CURRENT") as Buffer).toString().trim();
  const { records, lastStart, end } = readStoreLog(files.get(name) as Buffer);
  // The tables that the last record replaces were synced before.
  const known = [records, records.slice(0, -1)].flatMap((some) => [...manifestOf(some).tables.keys()]);
  // LevelDB syncs the folder before its manifest declares the journals before the current one obsolete.
  const named = isUnfinished(records, names) ? records.slice(0, -1) : records;
  const { journal } = manifestOf(named);
  for (const [file, bytes] of files) {
    const number = Number.parseInt(file, 10);
    if (file.endsWith(".log") && number > journal && !kept.has(file) && random() < 0.5) continue;
    const sure = file.endsWith(".log")
      ? (synced[file] ?? 0)
      : file.endsWith(".ldb") && !known.includes(number)
        ? 0
        : file === name && isUnfinished(records, names)
          ? lastStart
          : bytes.length;
    writeFileSync(
      join(target, file),
      remains(bytes.subarray(0, file === name ? end : undefined), sure, random),
    );
  }
}

/** The files of the folder. LevelDB may be merging tables: if files change while they are read, reads them again. */
function readConsistently(folder: string): Map<string, Buffer> {
  for (;;) {
    const names = readdirSync(folder);
    const files = new Map<string, Buffer>();
    for (const name of names) {
      const bytes = contentOf(join(folder, name));
      if (bytes) files.set(name, bytes);
    }
    const manifest = files.get("CURRENT")?.toString().trim() ?? "";
    const isSame =
      files.size === names.length &&
      readdirSync(folder).join() === names.join() &&
      contentOf(join(folder, manifest))?.length === files.get(manifest)?.length;
    if (isSame) return files;
  }
}

function contentOf(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether all files exist that the manifest's last record makes obsolete: then the record may not be synced yet. */
function isUnfinished(records: Buffer[], names: string[]): boolean {
  // The first two records are synced before CURRENT names the manifest.
  if (records.length < 3) return false;
  const before = manifestOf(records.slice(0, -1));
  const numbers = new Set(names.map((name) => Number.parseInt(name, 10)));
  const needed = before.journal === 0 ? [] : [before.journal];
  return [...before.tables.keys(), ...needed].every((number) => numbers.has(number));
}

/** The first `sure` bytes, then a part of the rest, some of its sectors, or nothing. */
function remains(bytes: Buffer, sure: number, random: () => number): Buffer {
  const luck = random();
  if (luck < 0.3) return bytes.subarray(0, sure);
  const kept = Buffer.from(bytes.subarray(0, sure + Math.ceil(random() * (bytes.length - sure))));
  if (luck < 0.6) return kept;
  for (let at = sure; at < kept.length; at += SECTOR - (at % SECTOR)) {
    if (random() < 0.5) kept.fill(0, at, Math.min(kept.length, at + SECTOR - (at % SECTOR)));
  }
  return kept;
}
