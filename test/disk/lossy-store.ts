import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readStoreLog } from "../../src/server/engines/disk/store-log.js";
import { manifestOf } from "../../src/server/engines/disk/store-manifest.js";
import { aroundBatches } from "./batches.js";

/** The bytes of each of LevelDB's journals. */
export type Sizes = Record<string, number>;

const SECTOR = 512;

/**
 * Has `tell` told what is synced after each batch that asks for it, before whoever wrote it is: no other one is on its
 * way then.
 */
export function watchSyncs(tell: (folder: string, synced: Sizes) => void): void {
  aroundBatches(async (folder, write, isSynced) => {
    await write();
    if (isSynced) tell(folder, journalsIn(folder));
  });
}

function journalsIn(folder: string): Sizes {
  const journals = readdirSync(folder).filter((name) => name.endsWith(".log"));
  return Object.fromEntries(
    journals.flatMap((name) => {
      // LevelDB may have made a table of it since.
      const found = statSync(join(folder, name), { throwIfNoEntry: false });
      return found ? [[name, found.size]] : [];
    }),
  );
}

/** What a LevelDB's disk has for certain: the bytes of each journal that were synced, and the names in its folder. */
export type Sure = { synced: Sizes; names: ReadonlySet<string> };

/**
 * Copies a LevelDB as a power failure leaves it: what was synced, and of the rest any part. Nobody writes to it
 * meanwhile. A journal whose name was never made durable may be gone with all that was synced in it.
 */
export function loseStore(
  folder: string,
  target: string,
  { synced, names: kept }: Sure,
  random: () => number,
): void {
  const files = atOneMoment(folder);
  const names = [...files.keys()];
  const name = (files.get("CURRENT") as Buffer).toString().trim();
  const { records, lastStart, end } = readStoreLog(files.get(name) as Buffer);
  // What the last record has replaced was synced before.
  const known = [records, records.slice(0, -1)].flatMap((some) => [...manifestOf(some).tables.keys()]);
  // LevelDB syncs the folder before its manifest says of a journal that those in front of it are obsolete.
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

/** The files of the folder. LevelDB may still be merging tables: what it changes while they are read is read anew. */
function atOneMoment(folder: string): Map<string, Buffer> {
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

/** Whether all is there that the manifest's last record has made obsolete: then it may not have been synced yet. */
function isUnfinished(records: Buffer[], names: string[]): boolean {
  // The first two are synced before CURRENT names the manifest.
  if (records.length < 3) return false;
  const before = manifestOf(records.slice(0, -1));
  const numbers = new Set(names.map((name) => Number.parseInt(name, 10)));
  const needed = before.journal === 0 ? [] : [before.journal];
  return [...before.tables.keys(), ...needed].every((number) => numbers.has(number));
}

/** The first `sure` bytes, and behind them a part, or some sectors, or nothing. */
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
