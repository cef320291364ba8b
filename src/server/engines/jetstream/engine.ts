import type { StreamInfo } from "@nats-io/jetstream";
import { asyncDispose } from "../../../lib/dispose.js";
import { type Logger, silent } from "../../context.js";
import type { Engine } from "../../engine.js";
import { withDefaults } from "../shared/bounds.js";
import { JetStreamBlobs } from "./blobs.js";
import { JETSTREAM_BOUNDS } from "./bounds.js";
import { ClusterClock } from "./cluster-clock.js";
import { connectCluster } from "./connection.js";
import { ClusterError } from "./errors.js";
import { JetStreamKeys } from "./keys.js";
import { JetStreamLogs } from "./logs.js";
import { JetStreamPeers } from "./peers.js";
import { JetStreamSession } from "./session.js";
import { openStreams, streamName } from "./streams.js";
import { JetStreamTopics } from "./topics.js";

/** The cluster and the bounds of a JetStream engine. A write that would exceed a bound fails as `resource_exhausted`. */
export interface JetStreamEngineOptions {
  /**
   * URLs of servers of the cluster: nats://host:4222, tls://host:4222, with a user as in nats://user:password@host or a
   * token as in nats://token@host. One is enough to find the others.
   */
  servers: string | readonly string[];
  /**
   * The prefix of the names of the engine's streams and subjects. Engines with different names share nothing.
   * Letters, digits, `_` and `-`. Default: "fairlead".
   */
  name?: string;
  /** The servers that keep each message: 1, 3 or 5. A write is acknowledged when most of them have it. Default: 3. */
  replicas?: number;
  /** The text of a NATS credentials file. Default: what the URLs have. */
  credentials?: string;
  /** Files in PEM format for tls:// URLs. Default: the system's certificate authorities, and no certificate. */
  tls?: { caFile?: string; certFile?: string; keyFile?: string };
  /** The bytes of the stream of keys and values, on each replica. Default: the limits of the cluster. */
  maxKeyBytes?: number;
  /** How many changed keys may wait for one watcher. If there are more, its watch fails. Default: 100,000. */
  maxWatchBacklog?: number;
  /** The bytes of the stream of all logs, on each replica. Default: the limits of the cluster. */
  maxLogBytes?: number;
  /**
   * The bytes of the stream of all blobs, on each replica. Included are those that are being written or read, and those
   * that were replaced or deleted in the last minute. Default: the limits of the cluster.
   */
  maxBlobBytes?: number;
  /** The bytes of the stream of events that wait for a group, on each replica. Default: the limits of the cluster. */
  maxTopicBytes?: number;
  /** The number of topics that have a group. Default: 10,000. */
  maxTopics?: number;
  /** The number of groups of one topic. Default: 1000. */
  maxGroups?: number;
  /** How long a group without consumers and without waiting events is kept, in milliseconds. Default: 24 hours. */
  groupIdleMs?: number;
  /** How long a group without consumers is kept while events wait for it, in milliseconds. Default: for ever. */
  groupBacklogIdleMs?: number;
  /**
   * How long an operation waits, in milliseconds, while the cluster elects a leader or cannot be reached. After that it
   * fails as `unavailable`. Default: 10 seconds.
   */
  waitMs?: number;
  /** Logs lost connections, and events that the engine drops. Default: no log. */
  log?: Logger;
}

/** How often the cluster's clock is sampled. */
const CLOCK_SAMPLE_MS = 10_000;

/** How many samples of the cluster's clock are taken at the start. */
const FIRST_SAMPLES = 3;

/**
 * Opens the engine that keeps everything in a NATS JetStream cluster, which any number of servers share. A write is
 * acknowledged when a quorum of its replicas has it.
 *
 * @throws ClusterError if no server can be reached, one is older than 2.12, or the streams promise less than asked.
 *
 * @example
 * ```ts no-run
 * import { createServer } from "fairlead/server";
 * import { openJetStreamEngine } from "fairlead/server/jetstream";
 *
 * const engine = await openJetStreamEngine({ servers: ["nats://a:4222", "nats://b:4222"], replicas: 3 });
 * const server = createServer({ engine });
 * ```
 */
export async function openJetStreamEngine(options: JetStreamEngineOptions): Promise<Engine> {
  const { name = "fairlead", replicas = 3, log = silent, credentials, tls } = options;
  const servers = typeof options.servers === "string" ? [options.servers] : options.servers;
  checkOptions(servers, name, replicas);
  const bounds = withDefaults(JETSTREAM_BOUNDS, options);
  const clock = new ClusterClock();
  let closeOnRefusal = (_: ClusterError) => {};
  let session: JetStreamSession | undefined;
  const nc = await connectCluster({
    servers,
    timeoutMs: bounds.waitMs,
    log,
    onRefused: (error) => closeOnRefusal(error),
    onLost: () => session?.connectionLost(),
    onRestored: () => session?.connectionRestored(),
    ...(credentials !== undefined && { credentials }),
    ...(tls && { tls }),
  });
  const { headers } = await import("@nats-io/transport-node");
  session = new JetStreamSession({ nc, name, clock, waitMs: bounds.waitMs, log }, headers);
  try {
    await openStreams(session, { replicas, bounds });
    for (let i = 0; i < FIRST_SAMPLES; i++) await sampleClock(session);
    const topics = await openTopics(session, bounds);
    const engine = createEngine(session, bounds, topics);
    closeOnRefusal = (error) => {
      log.error({ err: error }, "the engine closes, as the cluster has a server that it cannot use");
      void engine.close();
    };
    return engine;
  } catch (error) {
    session.close();
    await nc.close();
    throw error;
  }
}

function checkOptions(servers: readonly string[], name: string, replicas: number): void {
  if (servers.length === 0)
    throw new ClusterError("servers is empty: it must have at least one URL of a nats-server");
  if (!/^[\w-]{1,64}$/.test(name)) {
    const given = JSON.stringify(name);
    throw new ClusterError(`name is ${given}: it must have 1 to 64 letters, digits, "_" or "-"`);
  }
  if (![1, 3, 5].includes(replicas)) throw new ClusterError(`replicas is ${replicas}: it must be 1, 3 or 5`);
}

async function openTopics(
  session: JetStreamSession,
  bounds: Record<keyof typeof JETSTREAM_BOUNDS, number>,
): Promise<JetStreamTopics> {
  const topics = new JetStreamTopics(session, bounds);
  try {
    await topics.open();
    return topics;
  } catch (error) {
    await topics.close();
    throw error;
  }
}

function createEngine(
  session: JetStreamSession,
  bounds: Record<keyof typeof JETSTREAM_BOUNDS, number>,
  topics: JetStreamTopics,
): Engine {
  const { clock, nc } = session;
  const keys = new JetStreamKeys(session, bounds);
  const logs = new JetStreamLogs(session, bounds);
  const blobs = new JetStreamBlobs(session, bounds);
  const peers = new JetStreamPeers(session);
  const sampling = setInterval(() => sampleClock(session).catch(() => {}), CLOCK_SAMPLE_MS);
  sampling.unref();
  let closing: Promise<void> | undefined;
  const closeAll = async () => {
    clearInterval(sampling);
    await Promise.all([keys.close(), logs.close(), topics.close(), blobs.close()]);
    session.close();
    await peers.close();
    await nc.close();
  };
  const close = () => (closing ??= closeAll());
  return { name: "jetstream", clock, keys, logs, topics, blobs, peers, close, [asyncDispose]: close };
}

/** Compares the clock with that of the leader of the keys. */
async function sampleClock(session: JetStreamSession): Promise<void> {
  const sentMs = performance.now();
  const { ts } = await session.api<StreamInfo & { ts: string }>(
    `STREAM.INFO.${streamName(session.name, "keys")}`,
  );
  session.clock.add(Date.parse(ts), sentMs, performance.now());
}
