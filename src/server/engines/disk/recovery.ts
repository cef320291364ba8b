import { access } from "node:fs/promises";
import { join } from "node:path";
import { DamageError } from "./faults.js";
import type { Files } from "./files.js";
import { Journal, journalName, journalsIn, replay } from "./journal.js";
import { type Manifest, readManifest, saveManifest, tableName, tablesIn } from "./manifest.js";
import { Memtable } from "./memtable.js";
import { BlockCache, Table } from "./table.js";
import { Tree } from "./tree.js";

export interface TreeOptions {
  files: Files;
  /** The bytes in memory from which on what was written last becomes a table. */
  memtableBytes: number;
  /** The bytes of tables that are kept in memory for reading. */
  cacheBytes: number;
}

/** How many journal files may stand at the start of a journal before a new one begins. */
const MOST_JOURNALS = 8;

/** Opens the tree in `folder`, making it where there is none. Fails as damaged where anything acknowledged is missing. */
export async function openTree(folder: string, options: TreeOptions): Promise<Tree> {
  const { files, memtableBytes, cacheBytes } = options;
  await files.mkdir(folder);
  const manifest = (await readManifest(folder)) ?? (await begin(files, folder, await files.readdir(folder)));
  const names = await files.readdir(folder);
  await sweep(files, folder, names, manifest);
  const cache = new BlockCache(cacheBytes);
  const tables: Table[] = [];
  try {
    for (const number of manifest.tables) tables.push(await openTable(folder, number, cache));
    const { memtable, counter, last, sequence } = await recover(folder, manifest, names);
    const journal = await Journal.begin(files, folder, last + 1, sequence);
    const nextTable = Math.max(0, ...tablesIn(names)) + 1;
    const parts = {
      files,
      folder,
      cache,
      memtableBytes,
      tables,
      memtable,
      journal,
      manifest,
      counter,
      nextTable,
    };
    const tree = new Tree(parts);
    if (last + 1 - manifest.journal >= MOST_JOURNALS) tree.freeze();
    return tree;
  } catch (error) {
    for (const table of tables) table.close();
    throw error;
  }
}

/** A tree that holds nothing. Where a journal has frames already, the manifest has been lost. */
async function begin(files: Files, folder: string, names: readonly string[]): Promise<Manifest> {
  for (const number of journalsIn(names)) {
    const { frames } = await replay(join(folder, journalName(number)), 1, () => {});
    if (frames > 0) throw new DamageError(join(folder, "manifest.json"), "it is missing");
  }
  if (tablesIn(names).length > 0) throw new DamageError(join(folder, "manifest.json"), "it is missing");
  // Before the manifest, so that a journal which is missing later on has been lost.
  await (await files.open(join(folder, journalName(1)), "w+")).close();
  const manifest = { tables: [], journal: 1, sequence: 1, counter: 0n };
  await saveManifest(files, folder, manifest);
  return manifest;
}

/** Removes what was being made, or unmade, when the last process ended. */
async function sweep(files: Files, folder: string, names: readonly string[], { tables, journal }: Manifest) {
  const gone = [
    ...tablesIn(names)
      .filter((number) => !tables.includes(number))
      .map(tableName),
    ...journalsIn(names)
      .filter((number) => number < journal)
      .map(journalName),
    ...names.filter((name) => name.endsWith(".tmp")),
  ];
  for (const name of gone) await files.unlink(join(folder, name)).catch(() => {});
}

async function openTable(folder: string, number: number, cache: BlockCache): Promise<Table> {
  const path = join(folder, tableName(number));
  await access(path).catch(() => {
    throw new DamageError(path, "it is missing");
  });
  return new Table(folder, number, cache);
}

/** What the journal says beyond the tables. */
async function recover(folder: string, manifest: Manifest, names: readonly string[]) {
  const memtable = new Memtable();
  let { counter, sequence } = manifest;
  let last = manifest.journal - 1;
  if (!names.includes(journalName(manifest.journal))) {
    throw new DamageError(join(folder, journalName(manifest.journal)), "it is missing");
  }
  for (const number of journalsIn(names).filter((number) => number >= manifest.journal)) {
    if (number !== last + 1) throw new DamageError(join(folder, journalName(last + 1)), "it is missing");
    last = number;
    const replayed = await replay(join(folder, journalName(number)), sequence, (frame) => {
      for (const op of frame.ops) memtable.apply(op);
      counter = frame.counter;
    });
    sequence = replayed.next;
  }
  return { memtable, counter, last, sequence };
}
