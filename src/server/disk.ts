/**
 * `fairlead/server/disk`: the engine that keeps everything in a folder, for Node. It needs the package classic-level,
 * which is installed beside fairlead: `npm install classic-level@3`.
 *
 * @module
 */
export { backUpFolder } from "./engines/disk/backup-folder.js";
export { type CheckReport, checkFolder } from "./engines/disk/check.js";
export { type DiskEngine, type DiskEngineOptions, openDiskEngine } from "./engines/disk/engine.js";
export { FolderError } from "./engines/disk/errors.js";
export type { Files, OpenFile } from "./engines/disk/files.js";
export { restore } from "./engines/disk/restore.js";
export { isStoreInstalled, STORE_PACKAGE } from "./engines/disk/store-installed.js";
