import { type Bound, GiB, MiB, TOPIC_BOUNDS } from "../shared/bounds.js";

/** The bounds of a disk engine, in the order of the configuration. */
export const DISK_BOUNDS = {
  maxKeyBytes: { default: 16 * GiB, description: "The bytes of all keys and values, plus 32 for each key." },
  maxWatchBacklog: {
    default: 100_000,
    description: "How many changed keys may wait for one watcher. If there are more, its watch fails.",
  },
  maxLogBytes: {
    default: 64 * GiB,
    description:
      "The bytes of all logs on the disk. " +
      "Acknowledged records are not dropped to make room: appends fail instead.",
  },
  maxBlobBytes: {
    default: 64 * GiB,
    description: "The bytes of all blobs, including those that are being written.",
  },
  maxBacklogBytes: {
    default: GiB,
    description: "The bytes of events that may wait for one group of a topic, plus 64 for each event.",
  },
  maxTopicBytes: {
    default: 16 * GiB,
    description: "The bytes of events that may wait for all groups of all topics, plus 64 for each event.",
  },
  ...TOPIC_BOUNDS,
  memtableBytes: {
    default: 4 * MiB,
    description:
      "The bytes of recent keys and values in memory. When they are more, they are written to a table.",
  },
  cacheBytes: {
    default: 64 * MiB,
    description:
      "The bytes of tables that stay open, and mapped into memory when they are read. The default is the minimum.",
  },
  segmentBytes: {
    default: 32 * MiB,
    description: "The size of a log's segments. Retention frees whole segments.",
  },
} as const satisfies Record<string, Bound>;
