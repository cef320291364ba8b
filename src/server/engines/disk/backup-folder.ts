import { requestBackup } from "./backup-request.js";
import { openDiskEngine } from "./engine.js";
import { FolderError } from "./errors.js";
import { nodeFiles } from "./files.js";
import { folderFormat } from "./folder.js";
import { lockHolder } from "./lock-file.js";

/**
 * Writes a consistent snapshot of the data folder to the folder `to`, which must be empty or missing. If a server has
 * the data folder open, it makes the backup and continues to serve. Resolves when the backup is durable.
 */
export async function backUpFolder(folder: string, to: string): Promise<void> {
  const notADataFolder = new FolderError(`Cannot back up "${folder}": it is not a data folder`);
  const format = await folderFormat(nodeFiles, folder).catch((error: { code?: string }) => {
    throw error.code === "ENOENT" ? notADataFolder : error;
  });
  if (format === undefined) throw notADataFolder;
  if (await lockHolder(folder)) return requestBackup(folder, to);
  const engine = await openDiskEngine({ folder });
  try {
    await engine.backup(to);
  } finally {
    await engine.close();
  }
}
