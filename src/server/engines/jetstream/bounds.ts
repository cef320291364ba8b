import { type Bound, TOPIC_BOUNDS } from "../shared/bounds.js";

/**
 * The bounds of a JetStream engine, in the order of the configuration. The cluster reserves the bytes of a stream, so
 * that by default only its own limits apply (max_file_store and those of the account).
 */
export const JETSTREAM_BOUNDS = {
  maxKeyBytes: {
    description:
      "The bytes of the stream of keys and values, on each replica. Default: the limits of the cluster.",
  },
  maxWatchBacklog: {
    default: 100_000,
    description: "How many changed keys may wait for one watcher. If there are more, its watch fails.",
  },
  maxLogBytes: {
    description:
      "The bytes of the stream of all logs, on each replica. Default: the limits of the cluster. " +
      "Acknowledged records are not dropped to make room: appends fail instead.",
  },
  maxBlobBytes: {
    description:
      "The bytes of the stream of all blobs, on each replica. Included are those that are being written or read, and " +
      "those that were replaced or deleted in the last minute. " +
      "Default: the limits of the cluster.",
  },
  maxTopicBytes: {
    description:
      "The bytes of the stream of events that wait for a group, on each replica. Default: the limits of the cluster.",
  },
  ...TOPIC_BOUNDS,
  waitMs: {
    default: 10_000,
    isDuration: true,
    description:
      "How long an operation waits, in milliseconds, while the cluster elects a leader or cannot be reached. " +
      "After that it fails as unavailable.",
  },
} as const satisfies Record<string, Bound>;
