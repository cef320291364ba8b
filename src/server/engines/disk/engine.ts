import { resolve } from "node:path";
import { asyncDispose } from "../../../lib/dispose.js";
import { type Logger, silent } from "../../context.js";
import type { Engine } from "../../engine.js";
import { withDefaults } from "../shared/bounds.js";
import { Clock } from "../shared/clock.js";
import { backUp } from "./backup.js";
import { serveBackupRequests } from "./backup-request.js";
import { blobBytesOf, DiskBlobs } from "./blobs.js";
import { DISK_BOUNDS } from "./bounds.js";
import { DamageError, FolderError, toEngineFault } from "./errors.js";
import { type Files, nodeFiles } from "./files.js";
import { folderFormat, makeFolder, partsOf, prepareFolder } from "./folder.js";
import { DiskKeys, keyBytesOf } from "./keys.js";
import { type FolderLock, lockFolder } from "./lock-file.js";
import { DiskLogs } from "./logs.js";
import { DiskTopics } from "./topics.js";
import { Tree } from "./tree.js";

/** The folder and the bounds of a disk engine. A write that would exceed a bound fails as `resource_exhausted`. */
export interface DiskEngineOptions {
  /** The data folder, which only this engine may use. It is created if it is missing. */
  folder: string;
  /** The bytes of all keys and values, plus 32 for each key. Default: 16 GiB. */
  maxKeyBytes?: number;
  /** How many changed keys may wait for one watcher. If there are more, its watch fails. Default: 100,000. */
  maxWatchBacklog?: number;
  /** The bytes of all logs on the disk. Default: 64 GiB. */
  maxLogBytes?: number;
  /** The bytes of all blobs, including those that are being written. Default: 64 GiB. */
  maxBlobBytes?: number;
  /** The bytes of events that may wait for one group of a topic, plus 64 for each event. Default: 1 GiB. */
  maxBacklogBytes?: number;
  /** The bytes of events that may wait for all groups of all topics, plus 64 for each event. Default: 16 GiB. */
  maxTopicBytes?: number;
  /** The number of topics that have a group. Default: 10,000. */
  maxTopics?: number;
  /** The number of groups of one topic. Default: 1000. */
  maxGroups?: number;
  /**
   * How long a group without consumers and without waiting events is kept, in milliseconds. Time during which the
   * engine is closed does not count. Default: 24 hours.
   */
  groupIdleMs?: number;
  /**
   * How long a group without consumers is kept while events wait for it, in milliseconds. The events are then dropped.
   * Time during which the engine is closed does not count. Default: for ever.
   */
  groupBacklogIdleMs?: number;
  /** The bytes of recent keys and values in memory. When they are more, they are written to a table. Default: 4 MiB. */
  memtableBytes?: number;
  /** The bytes of tables that stay open, and mapped into memory when they are read. Default and minimum: 64 MiB. */
  cacheBytes?: number;
  /** The size of a log's segments. Retention frees whole segments. Default: 32 MiB. */
  segmentBytes?: number;
  /** Logs the events that the engine drops, and operations that take long. Default: no log. */
  log?: Pick<Logger, "info" | "warn">;
  /**
   * The time in Unix milliseconds, for timestamps, leases and delays. Default: `Date.now` for timestamps, and a
   * monotonic clock for the rest, which continues when the folder is opened again.
   */
  now?: () => number;
  /** The file system calls for writing. Default: Node's. */
  files?: Files;
}

/** How often the wall clock is checked for jumps. */
const CLOCK_CHECK_MS = 1000;

/** A disk engine, which can also back up its folder. */
export interface DiskEngine extends Engine {
  /** Writes a consistent snapshot of all data to the folder `to`, which must be empty or missing. */
  backup(to: string): Promise<void>;
}

/**
 * Opens the engine that keeps everything in one folder. A write is acknowledged when it is durable: it survives kill -9
 * and power failure. Only one process can open the folder at a time.
 *
 * @throws FolderError if another process has the folder open, its format is newer than this version's, or its data is
 * damaged.
 *
 * @example
 * ```ts
 * import { createServer } from "fairlead/server";
 * import { openDiskEngine } from "fairlead/server/disk";
 *
 * const server = createServer({ engine: await openDiskEngine({ folder: "fairlead-data" }) });
 * console.log(server.engine.name); // disk
 * await server.close();
 * ```
 */
export async function openDiskEngine(options: DiskEngineOptions): Promise<DiskEngine> {
  const { files = nodeFiles, now, log = silent } = options;
  const bounds = withDefaults(DISK_BOUNDS, options);
  const folder = resolve(options.folder);
  const parts = partsOf(folder);
  try {
    await makeFolder(files, folder);
  } catch (error) {
    throw openError(folder, error);
  }
  let closeOnLoss = () => {};
  // Before the lock, so that a folder that is not a data folder stays unchanged.
  await folderFormat(files, folder).catch((error: unknown) => {
    throw openError(folder, error);
  });
  const lock = await lockFolder(folder, () => closeOnLoss()).catch((error: unknown) => {
    throw openError(folder, error);
  });
  try {
    await prepareFolder(files, folder);
    for (const part of Object.values(parts)) await files.mkdir(part);
    await files.syncFolder(folder);
    const clocks = Clock.sourcesOf(now);
    const tree = await Tree.open(parts.tree, { ...bounds, clocks, files, log });
    try {
      const setOnLoss = (close: () => void) => (closeOnLoss = close);
      return await createEngine({ folder, files, tree, lock, log, bounds, setOnLoss });
    } catch (error) {
      await tree.close();
      throw error;
    }
  } catch (error) {
    await lock.release();
    throw openError(folder, error);
  }
}

interface OpenFolder {
  folder: string;
  files: Files;
  tree: Tree;
  lock: FolderLock;
  log: Pick<Logger, "info" | "warn">;
  bounds: Record<keyof typeof DISK_BOUNDS, number>;
  /** Sets the function to call if another process takes the folder. */
  setOnLoss: (close: () => void) => void;
}

async function createEngine(opened: OpenFolder): Promise<DiskEngine> {
  const { folder, files, tree, lock, log, bounds, setOnLoss } = opened;
  const parts = partsOf(folder);
  if (!tree.isCounted) await tree.setUsage({ keys: await keyBytesOf(tree), blobs: await blobBytesOf(tree) });
  const logs = await DiskLogs.open(tree, { ...bounds, files, folder: parts.logs });
  const topics = await DiskTopics.open(tree, { ...bounds, log });
  const keys = new DiskKeys(tree, bounds);
  const blobs = new DiskBlobs(tree, { ...bounds, files, folder: parts.blobs });
  const sweeping = blobs.sweep().catch(() => {});
  const stopWatching = watchClock(tree);
  const backup = (to: string) => backUp({ folder, tree, logs, blobs }, to);
  const stopServingBackups = serveBackupRequests(folder, backup);
  let closing: Promise<void> | undefined;
  const closeAll = async () => {
    keys.close();
    topics.close();
    blobs.close();
    stopWatching();
    await logs.close();
    await stopServingBackups();
    await sweeping;
    await tree.close();
    await lock.release();
  };
  const close = () => (closing ??= closeAll());
  setOnLoss(() => void close());
  return { name: "disk", clock: tree.clock, keys, logs, topics, blobs, close, backup, [asyncDispose]: close };
}

/** Stores the clock's state when the wall clock jumps: the time while the engine is closed is measured by it. */
function watchClock(tree: Tree): () => void {
  let { jumps } = tree.clock;
  const timer = setInterval(() => {
    tree.clock.watch();
    if (jumps === tree.clock.jumps) return;
    jumps = tree.clock.jumps;
    tree.saveMetadata().catch(() => {});
  }, CLOCK_CHECK_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** The FolderError for an error of opening the folder. */
function openError(folder: string, error: unknown): unknown {
  if (error instanceof FolderError) return error;
  const name = JSON.stringify(folder);
  if (error instanceof DamageError) {
    const help = `"fairlead check ${folder}" tells all that is damaged`;
    return new FolderError(`Cannot open the data folder ${name}: ${error.message}; ${help}`, error);
  }
  const why = toEngineFault(error)?.message ?? (error instanceof Error ? error.message : String(error));
  return new FolderError(`Cannot open the data folder ${name}: ${why}`, error);
}
