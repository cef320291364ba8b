import { type Bound, GiB, MiB, TOPIC_BOUNDS } from "../shared/bounds.js";

/** The bounds of a memory engine, in the order of the configuration. */
export const MEMORY_BOUNDS = {
  maxKeyBytes: { default: GiB, description: "The bytes of all keys and values, plus 256 for each key." },
  maxWatchBacklog: {
    default: 1_000_000,
    description: "How many changed keys may wait for one watcher. If there are more, its watch fails.",
  },
  maxLogBytes: {
    default: GiB,
    description:
      "The bytes of the records of all logs, plus 32 for each record. " +
      "Acknowledged records are not dropped to make room: appends fail instead.",
  },
  maxBlobBytes: {
    default: 2 * GiB,
    description: "The bytes of all blobs, including those that are being written or read.",
  },
  maxBacklogBytes: {
    default: 64 * MiB,
    description: "The bytes of events that may wait for one group of a topic, plus 64 for each event.",
  },
  maxTopicBytes: {
    default: GiB,
    description: "The bytes of events that may wait for all groups of all topics, plus 64 for each event.",
  },
  ...TOPIC_BOUNDS,
} as const satisfies Record<string, Bound>;
