import type { Files } from "./files.js";
import { merged } from "./merge.js";
import type { Table } from "./table.js";
import { TableWriter } from "./table-writer.js";
import { unhurried } from "./unhurried.js";

/** How many tables of like size there may be before they become one. */
const AT_ONCE = 4;

/** The part of all entries that may be deletions: as many others may take room in vain. */
const DELETIONS = 1 / 4;

/**
 * The newest tables that are to become one: each at most twice as large as all that are newer together. What is left
 * grows by sizes, so that there are few tables, and each entry is rewritten few times. All of them, where much has been
 * deleted: only then does what was deleted give its space back.
 */
export function mergeable(tables: readonly Table[]): Table[] {
  const entries = tables.reduce((sum, { count }) => sum + count, 0);
  const deletions = tables.reduce((sum, table) => sum + table.deletions, 0);
  if (deletions > entries * DELETIONS) return [...tables];
  let bytes = 0;
  let count = 0;
  for (const { size } of tables) {
    if (count > 0 && size > 2 * bytes) break;
    bytes += size;
    count++;
  }
  return count >= AT_ONCE ? tables.slice(0, count) : [];
}

/**
 * Writes all of `tables`, the newest first, as one at `path`; what was deleted is forgotten where nothing is older.
 * False where `isOver` has said so meanwhile.
 */
export async function compact(
  files: Files,
  path: string,
  tables: readonly Table[],
  isOldest: boolean,
  isOver: () => boolean,
): Promise<boolean> {
  const writer = await TableWriter.create(files, path);
  const turn = unhurried();
  try {
    for (const all = merged(tables.map((table) => table.cursor(undefined, false))); all.key; all.next()) {
      const { key, value } = all;
      if (value || !isOldest) writer.add({ key, value });
      if (writer.isFull) await writer.flush();
      await turn();
      if (isOver()) {
        await writer.abandon();
        return false;
      }
    }
    await writer.finish();
    return true;
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}
