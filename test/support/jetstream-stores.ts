import { headers } from "@nats-io/transport-node";
import { silent } from "../../src/server/context.js";
import type { BlobTiming } from "../../src/server/engines/jetstream/blobs/timing.js";
import { JetStreamBlobs } from "../../src/server/engines/jetstream/blobs.js";
import { JETSTREAM_BOUNDS } from "../../src/server/engines/jetstream/bounds.js";
import { ClusterClock } from "../../src/server/engines/jetstream/cluster-clock.js";
import { connectCluster } from "../../src/server/engines/jetstream/connection.js";
import { JetStreamKeys } from "../../src/server/engines/jetstream/keys.js";
import { JetStreamLogs } from "../../src/server/engines/jetstream/logs.js";
import { JetStreamSession } from "../../src/server/engines/jetstream/session.js";
import { openStreams } from "../../src/server/engines/jetstream/streams.js";
import { withDefaults } from "../../src/server/engines/shared/bounds.js";

/** The options of openStores(). */
export interface StoresOptions {
  servers: readonly string[];
  /** Stores of the same name share their data. Default: a new name. */
  name?: string;
  replicas?: number;
  maxLogBytes?: number;
  maxBlobBytes?: number;
  waitMs?: number;
  /** The mean time between two sweeps of old records. */
  sweepMs?: number;
  timing?: BlobTiming;
}

/** The keys, logs and blobs of one server, with the session that they use. */
export interface Stores extends AsyncDisposable {
  session: JetStreamSession;
  keys: JetStreamKeys;
  logs: JetStreamLogs;
  blobs: JetStreamBlobs;
}

/** Opens the keys, logs and blobs of one server, without the rest of an engine: its keys have no clock for lifetimes. */
export async function openStores(options: StoresOptions): Promise<Stores> {
  const { servers, name = `t${crypto.randomUUID()}`, replicas = 1, sweepMs, timing } = options;
  const bounds = withDefaults(JETSTREAM_BOUNDS, options);
  let session: JetStreamSession | undefined;
  const nc = await connectCluster({
    servers,
    timeoutMs: bounds.waitMs,
    log: silent,
    onRefused: () => {},
    onLost: () => session?.connectionLost(),
    onRestored: () => session?.connectionRestored(),
  });
  const settings = { nc, name, clock: new ClusterClock(), waitMs: bounds.waitMs, log: silent };
  const opened = new JetStreamSession(settings, headers);
  session = opened;
  await openStreams(opened, { replicas, bounds });
  const keys = new JetStreamKeys(opened, bounds);
  const logs = new JetStreamLogs(opened, bounds, sweepMs);
  const blobs = new JetStreamBlobs(opened, bounds, timing);
  const close = async () => {
    await Promise.all([keys.close(), logs.close(), blobs.close()]);
    opened.close();
    await nc.close();
  };
  return { session: opened, keys, logs, blobs, [Symbol.asyncDispose]: close };
}
