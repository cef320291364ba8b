import { resolve } from "node:path";
import { asyncDispose } from "../../../lib/dispose.js";
import { type Log, silent } from "../../context.js";
import type { Engine } from "../../engine.js";
import { DISK_BOUNDS } from "../shared/bounds.js";
import { Clock } from "../shared/clock.js";
import { backUp } from "./backup.js";
import { serveBackupRequests } from "./backup-request.js";
import { blobBytesOf, DiskBlobs } from "./blobs.js";
import { DamageError, FolderError, toEngineFault } from "./errors.js";
import { type Files, nodeFiles } from "./files.js";
import { formatOf, makeFolder, partsOf, prepareFolder } from "./folder.js";
import { DiskKeys, keyBytesOf } from "./keys.js";
import { type FolderLock, lockFolder } from "./lock-file.js";
import { DiskLogs } from "./logs.js";
import { DiskTopics } from "./topics.js";
import { Tree } from "./tree.js";

/** Where a disk engine keeps everything, and its bounds. A write that would pass one is refused as full. */
export interface DiskEngineOptions {
  /** The data folder: this engine's alone. It is made where it is missing. */
  folder: string;
  /** The bytes that all keys and their values may take, 32 more for each. Default: 16 GiB. */
  maxKeyBytes?: number;
  /** The keys whose changes may wait for one watcher that does not read; past it, its watch fails. Default: 100,000. */
  maxWatchBacklog?: number;
  /** The bytes that all logs may take on the disk. Default: 64 GiB. */
  maxLogBytes?: number;
  /** The bytes that all blobs together may hold, those that are being written included. Default: 64 GiB. */
  maxBlobBytes?: number;
  /** The bytes of events that may wait for one group of a topic, 64 more for each. Default: 1 GiB. */
  maxBacklogBytes?: number;
  /** The bytes of events that may wait for all groups of all topics together, 64 more for each. Default: 16 GiB. */
  maxTopicBytes?: number;
  /** The topics that have a group. Default: 10,000. */
  maxTopics?: number;
  /** The groups of one topic. Default: 1000. */
  maxGroups?: number;
  /**
   * How long a group without a consumer is kept where no events wait for it, in milliseconds; time during which the
   * engine is closed does not count. Default: 24 hours.
   */
  groupIdleMs?: number;
  /** How long, alike, a group without a consumer is kept although events wait for it: they are dropped then. Default: for ever. */
  groupBacklogIdleMs?: number;
  /** The bytes in memory of what was written last. From there on they become a file of their own. Default: 4 MiB. */
  memtableBytes?: number;
  /** The bytes of the files of keys and values that are open at a time, and mapped where they are read: at least 64 MiB, the default. */
  cacheBytes?: number;
  /** The bytes of one file of a log: what retention gives back at a time. Default: 32 MiB. */
  segmentBytes?: number;
  /** Where it tells of events that it drops, and of what takes long. Default: nowhere. */
  log?: Pick<Log, "info" | "warn">;
  /**
   * The time in Unix milliseconds, of stamps, leases and delays alike. Default: `Date.now` for stamps, and for the rest
   * a clock that goes on steadily when the wall clock is set, and from where it was when the folder is opened again.
   */
  now?: () => number;
  /** The files that it writes. Default: Node's. */
  files?: Files;
}

/** How often the wall clock is looked at. */
const CLOCK_MS = 1000;

/** A disk engine, and what only its folder's tools need of it. */
export interface DiskEngine extends Engine {
  /** Writes what there is now, at one moment, to the folder `to`, which must be empty or missing. */
  backup(to: string): Promise<void>;
}

/**
 * Opens the engine that keeps everything in one folder: what is acknowledged is on the disk, and is there after
 * kill -9 and power loss. One process has the folder at a time. Fails with a FolderError where another has it, where
 * its format is a newer one, and where what it holds is damaged: then nothing is opened.
 */
export async function openDiskEngine(options: DiskEngineOptions): Promise<DiskEngine> {
  const {
    files = nodeFiles,
    now,
    memtableBytes = DISK_BOUNDS.memtableBytes,
    cacheBytes = DISK_BOUNDS.cacheBytes,
    log = silent,
  } = options;
  const folder = resolve(options.folder);
  const parts = partsOf(folder);
  try {
    await makeFolder(files, folder);
  } catch (error) {
    throw refused(folder, error);
  }
  let lose = () => {};
  // What is something else's is not touched.
  await formatOf(files, folder).catch((error: unknown) => {
    throw refused(folder, error);
  });
  const lock = await lockFolder(folder, () => lose()).catch((error: unknown) => {
    throw refused(folder, error);
  });
  try {
    await prepareFolder(files, folder);
    for (const part of Object.values(parts)) await files.mkdir(part);
    await files.syncFolder(folder);
    const clocks = Clock.sourcesOf(now);
    const tree = await Tree.open(parts.tree, { memtableBytes, cacheBytes, clocks, files, log });
    try {
      return await engineOn({ folder, files, tree, lock, log, options, onLost: (close) => (lose = close) });
    } catch (error) {
      await tree.close();
      throw error;
    }
  } catch (error) {
    await lock.release();
    throw refused(folder, error);
  }
}

interface Opened {
  folder: string;
  files: Files;
  tree: Tree;
  lock: FolderLock;
  log: Pick<Log, "info" | "warn">;
  options: DiskEngineOptions;
  /** Is told what to call where another process has taken the folder. */
  onLost: (close: () => void) => void;
}

async function engineOn({ folder, files, tree, lock, log, options, onLost }: Opened): Promise<DiskEngine> {
  const parts = partsOf(folder);
  const {
    maxKeyBytes = DISK_BOUNDS.maxKeyBytes,
    maxWatchBacklog = DISK_BOUNDS.maxWatchBacklog,
    maxLogBytes = DISK_BOUNDS.maxLogBytes,
    maxBlobBytes = DISK_BOUNDS.maxBlobBytes,
    segmentBytes = DISK_BOUNDS.segmentBytes,
  } = options;
  if (!tree.isCounted) await tree.count({ keys: await keyBytesOf(tree), blobs: await blobBytesOf(tree) });
  const logs = await DiskLogs.open(tree, { files, folder: parts.logs, segmentBytes, maxLogBytes });
  const topics = await DiskTopics.open(tree, { ...topicLimits(options), log });
  const keys = new DiskKeys(tree, { maxKeyBytes, maxWatchBacklog });
  const blobs = new DiskBlobs(tree, { files, folder: parts.blobs, maxBlobBytes });
  const swept = blobs.sweep().catch(() => {});
  const stopWatching = watchClock(tree);
  const backup = (to: string) => backUp({ folder, tree, logs, blobs }, to);
  const stopAnswering = serveBackupRequests(folder, backup);
  let closed: Promise<void> | undefined;
  const shut = async () => {
    keys.close();
    topics.close();
    blobs.close();
    stopWatching();
    await logs.close();
    await stopAnswering();
    await swept;
    await tree.close();
    await lock.release();
  };
  const close = () => (closed ??= shut());
  onLost(() => void close());
  return { name: "disk", clock: tree.clock, keys, logs, topics, blobs, close, backup, [asyncDispose]: close };
}

/** Has it written down when the wall clock is set: the time that passes while the engine is closed is told by it. */
function watchClock(tree: Tree): () => void {
  let { jumps } = tree.clock;
  const timer = setInterval(() => {
    tree.clock.watch();
    if (jumps === tree.clock.jumps) return;
    jumps = tree.clock.jumps;
    tree.keepBooks().catch(() => {});
  }, CLOCK_MS);
  timer.unref();
  return () => clearInterval(timer);
}

function topicLimits({
  maxBacklogBytes = DISK_BOUNDS.maxBacklogBytes,
  maxTopicBytes = DISK_BOUNDS.maxTopicBytes,
  maxTopics = DISK_BOUNDS.maxTopics,
  maxGroups = DISK_BOUNDS.maxGroups,
  groupIdleMs = DISK_BOUNDS.groupIdleMs,
  groupBacklogIdleMs = Number.POSITIVE_INFINITY,
}: DiskEngineOptions) {
  return { maxBacklogBytes, maxTopicBytes, maxTopics, maxGroups, groupIdleMs, groupBacklogIdleMs };
}

/** Why the folder cannot be opened, as whoever looks after it has to know it. */
function refused(folder: string, error: unknown): unknown {
  if (error instanceof FolderError) return error;
  const name = JSON.stringify(folder);
  if (error instanceof DamageError) {
    const help = `"fairlead check ${folder}" tells all that is damaged`;
    return new FolderError(`Cannot open the data folder ${name}: ${error.message}; ${help}`, error);
  }
  const why = toEngineFault(error)?.message ?? (error instanceof Error ? error.message : String(error));
  return new FolderError(`Cannot open the data folder ${name}: ${why}`, error);
}
