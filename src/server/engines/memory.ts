import { asyncDispose } from "../../internal/dispose.js";
import type { Engine } from "../engine.js";
import { MemoryBlobs } from "./memory/blobs.js";
import { MemoryKeys } from "./memory/keys.js";
import { MemoryLogs } from "./memory/logs.js";
import { MemoryTopics } from "./memory/topics.js";

/** The bounds of a memory engine. A write that would pass one is refused as full. */
export interface MemoryEngineOptions {
  /** The bytes that all keys and their values may take, 256 more for each. Default: 1 GiB. */
  maxKeyBytes?: number;
  /** The keys whose changes may wait for one watcher that does not read; past it, its watch fails. Default: 1,000,000. */
  maxWatchBacklog?: number;
  /** The bytes that the records of all logs may take, 32 more for each. Default: 1 GiB. */
  maxLogBytes?: number;
  /** The bytes that all blobs together may hold, those that are being written or read included. Default: 2 GiB. */
  maxBlobBytes?: number;
  /** The bytes of events that may wait for one group of a topic, 64 more for each. Default: 64 MiB. */
  maxBacklogBytes?: number;
  /** The bytes of events that may wait for all groups of all topics together, 64 more for each. Default: 1 GiB. */
  maxTopicBytes?: number;
  /** The topics that have a group. Default: 10,000. */
  maxTopics?: number;
  /** The groups of one topic. Default: 1000. */
  maxGroups?: number;
  /** How long a group without a consumer is kept, with the events that wait for it. Default: 24 hours. */
  groupIdleMs?: number;
  /** The time in Unix milliseconds. Default: `Date.now`. */
  now?: () => number;
}

/**
 * An engine that keeps everything in this process's memory: for tests, demos, browsers and the edge. A write is
 * acknowledged when it is applied, and all is gone with the process.
 */
export function memoryEngine({
  maxKeyBytes = 1024 ** 3,
  maxWatchBacklog = 1_000_000,
  maxLogBytes = 1024 ** 3,
  maxBlobBytes = 2 * 1024 ** 3,
  maxBacklogBytes = 64 * 1024 ** 2,
  maxTopicBytes = 1024 ** 3,
  maxTopics = 10_000,
  maxGroups = 1000,
  groupIdleMs = 24 * 3_600_000,
  now = Date.now,
}: MemoryEngineOptions = {}): Engine {
  const keys = new MemoryKeys({ maxKeyBytes, maxWatchBacklog, now });
  const logs = new MemoryLogs({ maxLogBytes, now });
  const topics = new MemoryTopics({ maxBacklogBytes, maxTopicBytes, maxTopics, maxGroups, groupIdleMs });
  const blobs = new MemoryBlobs({ maxBlobBytes, now });
  const close = async () => {
    for (const port of [keys, logs, topics, blobs]) port.close();
  };
  return { name: "memory", keys, logs, topics, blobs, close, [asyncDispose]: close };
}
