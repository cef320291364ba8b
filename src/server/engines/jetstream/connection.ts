import type { ConnectionOptions, NatsConnection, Status } from "@nats-io/transport-node";
import { utf8 } from "../../../lib/utf8.js";
import type { Logger } from "../../context.js";
import { ClusterError } from "./errors.js";
import { parseServers } from "./server-urls.js";

/** The oldest nats-server with batches, conditions that a quorum decides, and lifetimes of messages. */
const OLDEST = [2, 12] as const;

/** How often the connection is checked, and after how many lost answers it is given up, as a stopped node's is. */
const PING_MS = 1000;
const MAX_LOST_PINGS = 2;

/** The delay between attempts to connect again, in turn to each server that is known, plus jitter. */
const RECONNECT_MS = 200;

/** How long one server may take to connect: a stopped one accepts the connection, and says nothing. */
const CONNECT_MS = 2000;

/** How a cluster is reached. */
export interface ConnectOptions {
  servers: readonly string[];
  /** The text of a credentials file, with a user's JWT and seed. */
  credentials?: string;
  tls?: { caFile?: string; certFile?: string; keyFile?: string };
  /** How long connecting may take, in milliseconds. */
  timeoutMs: number;
  log: Pick<Logger, "info" | "warn">;
  /** Called when the connected server is one that the engine cannot use. */
  onRefused: (error: ClusterError) => void;
  /** Called when the connection is lost, and when there is another. */
  onLost: () => void;
  onRestored: () => void;
}

/** Connects to one of the servers. From then on it connects again for ever, to any server of the cluster. */
export async function connectCluster(options: ConnectOptions): Promise<NatsConnection> {
  const { timeoutMs } = options;
  const { urls, login } = parseServers(options.servers);
  const { connect, credsAuthenticator } = await import("@nats-io/transport-node");
  const { credentials, tls } = options;
  const settings: ConnectionOptions = {
    servers: urls,
    name: "fairlead",
    timeout: Math.min(timeoutMs, CONNECT_MS),
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_MS,
    reconnectJitter: RECONNECT_MS,
    pingInterval: PING_MS,
    maxPingOut: MAX_LOST_PINGS,
    ignoreAuthErrorAbort: true,
    noAsyncTraces: true,
    ...(credentials !== undefined && { authenticator: credsAuthenticator(utf8(credentials)) }),
    ...login,
    // The client ignores the scheme of URLs.
    ...((tls || urls.some((url) => url.startsWith("tls:"))) && { tls: tls ?? {} }),
  };
  const nc = await connectWithin(timeoutMs, () => connect(settings)).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ClusterError(`Cannot connect to NATS at ${urls.join(", ")}: ${reason}`, error);
  });
  try {
    checkServer(nc);
  } catch (error) {
    await nc.close();
    throw error;
  }
  void followStatus(nc, options);
  return nc;
}

/** Repeats attempts that time out, as those to a busy or stopped server do, until `timeoutMs` is over. */
async function connectWithin(
  timeoutMs: number,
  connect: () => Promise<NatsConnection>,
): Promise<NatsConnection> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await connect();
    } catch (error) {
      const isTimeout = error instanceof Error && error.name === "TimeoutError";
      if (!isTimeout || performance.now() >= deadlineMs) throw error;
    }
  }
}

/** Fails if the connected server is too old or has no JetStream. */
function checkServer(nc: NatsConnection): void {
  const { version = "", jetstream, host, port, server_name: name = "" } = nc.info ?? {};
  const at = `nats-server ${JSON.stringify(name)} at ${host}:${port}`;
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    throw new ClusterError(
      `${at} has version ${version}, which loses acknowledged writes of a cluster and ignores lifetimes and batches: ` +
        `use ${OLDEST.join(".")} or newer`,
    );
  }
  if (!jetstream) throw new ClusterError(`${at} has no JetStream: start it with -js or a jetstream block`);
}

async function followStatus(nc: NatsConnection, options: ConnectOptions): Promise<void> {
  for await (const status of nc.status()) {
    logStatus(status, options.log);
    if (status.type === "disconnect") options.onLost();
    if (status.type !== "reconnect") continue;
    try {
      checkServer(nc);
      options.onRestored();
    } catch (error) {
      if (error instanceof ClusterError) options.onRefused(error);
      else throw error;
    }
  }
}

function logStatus(status: Status, log: Pick<Logger, "info" | "warn">): void {
  if (status.type === "disconnect") {
    log.warn({ server: status.server }, "the connection to the cluster was lost");
  } else if (status.type === "reconnect") {
    log.info({ server: status.server }, "connected to the cluster again");
  } else if (status.type === "error") {
    log.warn({ err: status.error }, "the cluster refused an operation of the engine");
  } else if (status.type === "slowConsumer") {
    log.warn({ pending: status.pending }, "this server falls behind the cluster's messages");
  }
}
