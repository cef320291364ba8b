import { existsSync } from "node:fs";
import { isStoreInstalled, openDiskEngine, STORE_PACKAGE } from "../server/disk.js";
import {
  type Config,
  createServer,
  type Engine,
  type Logger,
  parseConfig,
  type Server,
  type ServerOptions,
} from "../server/index.js";
import { makePrivate, requireStore } from "./data-folder.js";
import { installCommand } from "./install-command.js";
import { type Cluster, openCluster, withoutCredentials } from "./nats-cluster.js";

/** The folder in which `fairlead serve` keeps its data by default. */
const DATA_FOLDER = "fairlead-data";

/** Where a server keeps its data. `notice` tells the user that nothing is kept, if the user did not ask for that. */
export type DataLocation =
  | { type: "memory"; notice?: string }
  | { type: "disk"; folder: string }
  | { type: "jetstream"; cluster: Cluster };

/**
 * Where `fairlead serve` keeps its data: in `data`, by default in ./fairlead-data. Without the disk engine's package,
 * the default is memory. Then it fails if `data` is given or ./fairlead-data exists: an empty server would look like
 * data loss.
 *
 */
export async function chooseDataLocation({
  data,
  memory: isMemory,
  cluster,
}: {
  data?: string | undefined;
  memory?: boolean;
  cluster?: Cluster | undefined;
}): Promise<DataLocation> {
  if (cluster) return { type: "jetstream", cluster };
  if (isMemory) return { type: "memory" };
  if (data !== undefined) {
    await requireStore("serve");
    return { type: "disk", folder: data };
  }
  if (await isStoreInstalled()) return { type: "disk", folder: DATA_FOLDER };
  const command = installCommand([STORE_PACKAGE], "serve");
  if (existsSync(DATA_FOLDER)) {
    throw new Error(
      `./${DATA_FOLDER} has data, but the package that reads it is not installed: ${command}; ` +
        "or start without the data: --memory",
    );
  }
  return {
    type: "memory",
    notice: `nothing is kept: all data is lost when the server ends. To keep it in ./${DATA_FOLDER}: ${command}`,
  };
}

/** Creates a server that keeps its data at `location`, and elects the primaries of maps in the cluster `election`. */
export async function createServerAt(
  location: DataLocation,
  options: ServerOptions,
  election?: Cluster,
): Promise<Server> {
  const { engines } = parseConfig(options.config);
  const engine = await openEngine(location, engines, options.log);
  let electionEngine: Engine | undefined;
  try {
    if (election) {
      const bounds = { ...engines.jetstream, ...(options.log && { log: options.log }) };
      electionEngine = await openCluster(election, bounds);
    }
    return createServer({ ...options, ...(engine && { engine }), ...(electionEngine && { electionEngine }) });
  } catch (error) {
    await engine?.close();
    await electionEngine?.close();
    throw error;
  }
}

/** Undefined: the server's own engine, in memory. */
async function openEngine(
  location: DataLocation,
  bounds: Config["engines"],
  log: Logger | undefined,
): Promise<Engine | undefined> {
  switch (location.type) {
    case "memory":
      return undefined;
    case "disk":
      makePrivate();
      return openDiskEngine({ folder: location.folder, ...bounds.disk, ...(log && { log }) });
    case "jetstream":
      return openCluster(location.cluster, { ...bounds.jetstream, ...(log && { log }) });
  }
}

/** Where the data is, for people. */
export function locationText(location: DataLocation): string {
  switch (location.type) {
    case "memory":
      return "memory (nothing is kept)";
    case "disk":
      return `disk, in ${location.folder}`;
    case "jetstream": {
      const { name, replicas, servers } = location.cluster;
      const copies = replicas === 1 ? "one replica" : `${replicas} replicas`;
      return `jetstream, "${name}" with ${copies} at ${servers.map(withoutCredentials).join(", ")}`;
    }
  }
}
