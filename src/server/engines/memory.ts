import type { Engine } from "../engine.js";
import { MemoryBlobs } from "./memory/blobs.js";
import { MemoryKeys } from "./memory/keys.js";
import { MemoryLogs } from "./memory/logs.js";
import { MemoryTopics } from "./memory/topics.js";

export interface MemoryEngineOptions {
  /** The bytes that all blobs together may hold. Default: 2 GiB. Past it, writing is refused as full. */
  maxBlobBytes?: number;
  /** The bytes of events that may wait for one group of a topic. Default: 64 MiB. Past it, publishing is refused. */
  maxBacklogBytes?: number;
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
  maxBlobBytes = 2 * 1024 ** 3,
  maxBacklogBytes = 64 * 1024 ** 2,
  groupIdleMs = 24 * 3_600_000,
  now = Date.now,
}: MemoryEngineOptions = {}): Engine {
  const keys = new MemoryKeys(now);
  const logs = new MemoryLogs(now);
  const topics = new MemoryTopics({ maxBacklogBytes, groupIdleMs });
  const blobs = new MemoryBlobs({ maxBlobBytes, now });
  const close = async () => {
    for (const port of [keys, logs, topics, blobs]) port.close();
  };
  return { name: "memory", keys, logs, topics, blobs, close, [Symbol.asyncDispose]: close };
}
