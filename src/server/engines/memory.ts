import { asyncDispose } from "../../lib/dispose.js";
import { type Logger, silent } from "../context.js";
import type { Engine } from "../engine.js";
import { MemoryBlobs } from "./memory/blobs.js";
import { MEMORY_BOUNDS } from "./memory/bounds.js";
import { MemoryKeys } from "./memory/keys.js";
import { MemoryLogs } from "./memory/logs.js";
import { MemoryTopics } from "./memory/topics.js";
import { withDefaults } from "./shared/bounds.js";
import { Clock } from "./shared/clock.js";

/** The bounds of a memory engine. A write that would exceed one fails as `resource_exhausted`. */
export interface MemoryEngineOptions {
  /** The bytes of all keys and values, plus 256 for each key. Default: 1 GiB. */
  maxKeyBytes?: number;
  /** How many changed keys may wait for one watcher. If there are more, its watch fails. Default: 1,000,000. */
  maxWatchBacklog?: number;
  /** The bytes of the records of all logs, plus 32 for each record. Default: 1 GiB. */
  maxLogBytes?: number;
  /** The bytes of all blobs, including those that are being written or read. Default: 2 GiB. */
  maxBlobBytes?: number;
  /** The bytes of events that may wait for one group of a topic, plus 64 for each event. Default: 64 MiB. */
  maxBacklogBytes?: number;
  /** The bytes of events that may wait for all groups of all topics, plus 64 for each event. Default: 1 GiB. */
  maxTopicBytes?: number;
  /** The number of topics that have a group. Default: 10,000. */
  maxTopics?: number;
  /** The number of groups of one topic. Default: 1000. */
  maxGroups?: number;
  /** How long a group without consumers and without waiting events is kept, in milliseconds. Default: 24 hours. */
  groupIdleMs?: number;
  /**
   * How long a group without consumers is kept while events wait for it, in milliseconds. The events are then dropped.
   * Default: for ever.
   */
  groupBacklogIdleMs?: number;
  /** Logs the events that the engine drops. Default: no log. */
  log?: Pick<Logger, "warn">;
  /**
   * The time in Unix milliseconds, for timestamps, leases and delays. Default: `Date.now` for timestamps, and a
   * monotonic clock for the rest.
   */
  now?: () => number;
}

/**
 * An engine that keeps everything in the memory of this process: for tests, demos, browsers and the edge. A write is
 * acknowledged when it is applied. All data is lost when the process ends.
 *
 * @example
 * ```ts
 * import { createServer, memoryEngine } from "fairlead/server";
 *
 * const server = createServer({ engine: memoryEngine({ maxKeyBytes: 64 * 1024 ** 2 }) });
 * console.log(server.engine.name); // memory
 * await server.close();
 * ```
 */
export function memoryEngine({ log = silent, now, ...options }: MemoryEngineOptions = {}): Engine {
  const bounds = withDefaults(MEMORY_BOUNDS, options);
  const clock = new Clock(Clock.sourcesOf(now));
  const keys = new MemoryKeys({ ...bounds, now: clock.now });
  const logs = new MemoryLogs({ ...bounds, clock });
  const topics = new MemoryTopics({ ...bounds, log });
  const blobs = new MemoryBlobs({ ...bounds, now: clock.wall });
  const close = async () => {
    for (const port of [keys, logs, topics, blobs]) port.close();
  };
  return { name: "memory", clock, keys, logs, topics, blobs, close, [asyncDispose]: close };
}
