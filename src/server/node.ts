/**
 * `fairlead/server/node`: the reference server on a port of this machine.
 *
 * @module
 */
export { restore } from "./engines/disk/backup.js";
export { backUpFolder } from "./engines/disk/backup-folder.js";
export { type CheckReport, checkFolder } from "./engines/disk/check.js";
export { type DiskEngine, type DiskEngineOptions, openDiskEngine } from "./engines/disk/engine.js";
export { FolderError } from "./engines/disk/faults.js";
export type { Files, OpenFile } from "./engines/disk/files.js";
export { type Listening, type ListenOptions, listen, nodePlatform, type TlsOptions } from "./listen.js";
