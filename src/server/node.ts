/**
 * `fairlead/server/node`: the reference server on a port of this machine.
 *
 * @module
 */
export { requestBackup } from "./engines/disk/backup-request.js";
export { restore } from "./engines/disk/backup.js";
export { type CheckReport, checkFolder } from "./engines/disk/check.js";
export { type DiskEngine, type DiskEngineOptions, openDiskEngine } from "./engines/disk/engine.js";
export { FolderError } from "./engines/disk/faults.js";
export type { Files, OpenFile } from "./engines/disk/files.js";
export { type Listening, type ListenOptions, listen, nodePlatform } from "./listen.js";
