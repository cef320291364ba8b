import { resolve } from "node:path";
import { asyncDispose } from "../../../internal/dispose.js";
import type { Engine } from "../../engine.js";
import { backUp } from "./backup.js";
import { answerRequests } from "./backup-request.js";
import { DiskBlobs } from "./blobs.js";
import { DamageError, FolderError, systemFault } from "./faults.js";
import { type Files, nodeFiles } from "./files.js";
import { partsOf, prepare } from "./folder.js";
import { DiskKeys } from "./keys.js";
import { lockFolder } from "./lock-file.js";
import { DiskLogs } from "./logs.js";
import { DiskTopics } from "./topics.js";
import { Tree } from "./tree.js";

/** Where a disk engine keeps everything, and its bounds. A write that would pass one is refused as full. */
export interface DiskEngineOptions {
  /** The data folder: this engine's alone. It is made where it is missing. */
  folder: string;
  /** The keys whose changes may wait for one watcher that does not read; past it, its watch fails. Default: 100,000. */
  maxWatchBacklog?: number;
  /** The bytes of events that may wait for one group of a topic, 64 more for each. Default: 1 GiB. */
  maxBacklogBytes?: number;
  /** The bytes of events that may wait for all groups of all topics together, 64 more for each. Default: 16 GiB. */
  maxTopicBytes?: number;
  /** The topics that have a group. Default: 10,000. */
  maxTopics?: number;
  /** The groups of one topic. Default: 1000. */
  maxGroups?: number;
  /** How long a group without a consumer is kept, with the events that wait for it. Default: 24 hours. */
  groupIdleMs?: number;
  /** The bytes in memory of what was written last. From there on they become a file of their own. Default: 4 MiB. */
  memtableBytes?: number;
  /** The bytes of the files of keys and values that are open at a time, and mapped where they are read: at least 64 MiB, the default. */
  cacheBytes?: number;
  /** The bytes of one file of a log: what retention gives back at a time. Default: 32 MiB. */
  segmentBytes?: number;
  /** The time in Unix milliseconds. Default: `Date.now`. */
  now?: () => number;
  /** The files that it writes. Default: Node's. */
  files?: Files;
}

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
    now = Date.now,
    memtableBytes = 4 * 1024 ** 2,
    cacheBytes = 64 * 1024 ** 2,
  } = options;
  const folder = resolve(options.folder);
  const parts = partsOf(folder);
  try {
    await files.mkdir(folder);
  } catch (error) {
    throw refused(folder, error);
  }
  let lose = () => {};
  const lock = await lockFolder(folder, () => lose()).catch((error: unknown) => {
    throw refused(folder, error);
  });
  try {
    await prepare(files, folder);
    for (const part of Object.values(parts)) await files.mkdir(part);
    await files.syncFolder(folder);
    const tree = await Tree.open(parts.tree, { memtableBytes, cacheBytes });
    const { maxWatchBacklog = 100_000, segmentBytes = 32 * 1024 ** 2 } = options;
    const keys = new DiskKeys(tree, { maxWatchBacklog, now });
    const logs = new DiskLogs(tree, { files, folder: parts.logs, segmentBytes, now });
    const topics = await DiskTopics.open(tree, { ...topicLimits(options), now });
    const blobs = new DiskBlobs(tree, { files, folder: parts.blobs, now });
    const swept = lock.wasHeld ? blobs.sweep().catch(() => {}) : Promise.resolve();
    const backup = (to: string) => backUp({ folder, tree, logs, blobs }, to);
    const stopAnswering = answerRequests(folder, backup);
    let closed: Promise<void> | undefined;
    const shut = async () => {
      keys.close();
      topics.close();
      blobs.close();
      await logs.close();
      await stopAnswering();
      await swept;
      await tree.close();
      await lock.release();
    };
    const close = () => (closed ??= shut());
    lose = () => void close();
    return { name: "disk", keys, logs, topics, blobs, close, backup, [asyncDispose]: close };
  } catch (error) {
    await lock.release();
    throw refused(folder, error);
  }
}

function topicLimits({
  maxBacklogBytes = 1024 ** 3,
  maxTopicBytes = 16 * 1024 ** 3,
  maxTopics = 10_000,
  maxGroups = 1000,
  groupIdleMs = 24 * 3_600_000,
}: DiskEngineOptions) {
  return { maxBacklogBytes, maxTopicBytes, maxTopics, maxGroups, groupIdleMs };
}

/** Why the folder cannot be opened, as whoever looks after it has to know it. */
function refused(folder: string, error: unknown): unknown {
  if (error instanceof FolderError) return error;
  const name = JSON.stringify(folder);
  if (error instanceof DamageError) {
    const help = `"fairlead check ${folder}" tells all that is damaged`;
    return new FolderError(`Cannot open the data folder ${name}: ${error.message}; ${help}`, error);
  }
  const why = systemFault(error)?.message ?? (error instanceof Error ? error.message : String(error));
  return new FolderError(`Cannot open the data folder ${name}: ${why}`, error);
}
