import { chmod, cp, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { FolderError } from "./errors.js";
import { nodeFiles } from "./files.js";
import { FORMAT, folderFormat, partsOf, requireEmptyFolder, syncFolders, writeFormat } from "./folder.js";
import { lockHolder } from "./lock-file.js";

/** Restores the backup `from` to `folder`, which must be empty or missing. */
export async function restore(from: string, folder: string): Promise<void> {
  const format = await folderFormat(nodeFiles, from).catch((error: unknown) => {
    throw new FolderError(`Cannot restore from "${from}": ${(error as Error).message}`);
  });
  const cannot = `Cannot restore from "${from}"`;
  if (format === undefined) throw new FolderError(`${cannot}: it is empty`);
  if (format > FORMAT) throw new FolderError(`${cannot}: its format is ${format}, a newer version's`);
  const holder = await lockHolder(from);
  if (holder) {
    throw new FolderError(`${cannot}: process ${holder.pid} has it open; make a backup of it first`);
  }
  await requireEmptyFolder(folder);
  for (const [part, path] of Object.entries(partsOf(from))) {
    await cp(path, join(folder, part), { recursive: true, errorOnExist: true, force: false });
  }
  await makePrivate(folder);
  await syncFolders(nodeFiles, folder);
  await writeFormat(nodeFiles, folder, format);
}

/** Syncs the copied files, and makes them accessible by their owner only. */
async function makePrivate(folder: string): Promise<void> {
  for (const name of await readdir(folder, { recursive: true })) {
    const path = join(folder, name);
    if (!(await stat(path)).isFile()) {
      await chmod(path, 0o700);
      continue;
    }
    await chmod(path, 0o600);
    const file = await open(path, "r+");
    await file.datasync().finally(() => file.close());
  }
}
