import { asyncDispose } from "../../lib/dispose.js";
import { type Log, silent } from "../context.js";
import type { Engine } from "../engine.js";
import { MemoryBlobs } from "./memory/blobs.js";
import { MemoryKeys } from "./memory/keys.js";
import { MemoryLogs } from "./memory/logs.js";
import { MemoryTopics } from "./memory/topics.js";
import { MEMORY_BOUNDS } from "./shared/bounds.js";
import { Clock } from "./shared/clock.js";

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
  /** How long a group without a consumer is kept where no events wait for it, in milliseconds. Default: 24 hours. */
  groupIdleMs?: number;
  /** How long a group without a consumer is kept although events wait for it: they are dropped then. Default: for ever. */
  groupBacklogIdleMs?: number;
  /** Where it tells of events that it drops. Default: nowhere. */
  log?: Pick<Log, "warn">;
  /**
   * The time in Unix milliseconds, of stamps, leases and delays alike. Default: `Date.now` for stamps, and for the rest
   * a clock that goes on steadily when the wall clock is set.
   */
  now?: () => number;
}

/**
 * An engine that keeps everything in this process's memory: for tests, demos, browsers and the edge. A write is
 * acknowledged when it is applied, and all is gone with the process.
 */
export function memoryEngine({
  maxKeyBytes = MEMORY_BOUNDS.maxKeyBytes,
  maxWatchBacklog = MEMORY_BOUNDS.maxWatchBacklog,
  maxLogBytes = MEMORY_BOUNDS.maxLogBytes,
  maxBlobBytes = MEMORY_BOUNDS.maxBlobBytes,
  maxBacklogBytes = MEMORY_BOUNDS.maxBacklogBytes,
  maxTopicBytes = MEMORY_BOUNDS.maxTopicBytes,
  maxTopics = MEMORY_BOUNDS.maxTopics,
  maxGroups = MEMORY_BOUNDS.maxGroups,
  groupIdleMs = MEMORY_BOUNDS.groupIdleMs,
  groupBacklogIdleMs = Number.POSITIVE_INFINITY,
  log = silent,
  now,
}: MemoryEngineOptions = {}): Engine {
  const clock = new Clock(Clock.sourcesOf(now));
  const keys = new MemoryKeys({ maxKeyBytes, maxWatchBacklog, now: clock.now });
  const logs = new MemoryLogs({ maxLogBytes, clock });
  const kept = { groupIdleMs, groupBacklogIdleMs };
  const topics = new MemoryTopics({ maxBacklogBytes, maxTopicBytes, maxTopics, maxGroups, ...kept, log });
  const blobs = new MemoryBlobs({ maxBlobBytes, now: clock.wall });
  const close = async () => {
    for (const port of [keys, logs, topics, blobs]) port.close();
  };
  return { name: "memory", clock, keys, logs, topics, blobs, close, [asyncDispose]: close };
}
