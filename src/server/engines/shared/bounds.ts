const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

/** The number of topics and groups, and how long groups without consumers are kept: the same for all engines. */
const groups = { maxTopics: 10_000, maxGroups: 1000, groupIdleMs: 24 * 3_600_000 };

/** The default bounds of a memory engine. */
export const MEMORY_BOUNDS = {
  maxKeyBytes: GiB,
  maxWatchBacklog: 1_000_000,
  maxLogBytes: GiB,
  maxBlobBytes: 2 * GiB,
  maxBacklogBytes: 64 * MiB,
  maxTopicBytes: GiB,
  ...groups,
};

/** The default bounds of a disk engine. */
export const DISK_BOUNDS = {
  maxKeyBytes: 16 * GiB,
  maxWatchBacklog: 100_000,
  maxLogBytes: 64 * GiB,
  maxBlobBytes: 64 * GiB,
  maxBacklogBytes: GiB,
  maxTopicBytes: 16 * GiB,
  ...groups,
  memtableBytes: 4 * MiB,
  cacheBytes: 64 * MiB,
  segmentBytes: 32 * MiB,
};
