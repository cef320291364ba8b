import { requestBackup } from "./backup-request.js";
import { openDiskEngine } from "./engine.js";
import { FolderError } from "./errors.js";
import { nodeFiles } from "./files.js";
import { formatOf } from "./folder.js";
import { lockHolder } from "./lock-file.js";

/**
 * Writes what the data folder has, at one moment, to the folder `to`, which must be empty or missing. Where a server
 * has the folder open, that goes on, and does it. Resolves when the backup is on the disk.
 */
export async function backUpFolder(folder: string, to: string): Promise<void> {
  const nothing = new FolderError(`Cannot back up "${folder}": it is not a data folder`);
  const format = await formatOf(nodeFiles, folder).catch((error: { code?: string }) => {
    throw error.code === "ENOENT" ? nothing : error;
  });
  if (format === undefined) throw nothing;
  if (await lockHolder(folder)) return requestBackup(folder, to);
  const engine = await openDiskEngine({ folder });
  try {
    await engine.backup(to);
  } finally {
    await engine.close();
  }
}
