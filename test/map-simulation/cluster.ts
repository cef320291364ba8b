import type { VersionedMap } from "../../src/client/map.js";
import type { ConfigInput } from "../../src/server/config/config.js";
import type { FaultyCluster } from "./faults.js";
import type { MapClient } from "./workload.js";
import type { Machine } from "./world/machine.js";
import { type ServerNode, transportTo } from "./world/server-node.js";
import type { World } from "./world.js";

/** The servers of one group of maps. */
export class Cluster implements FaultyCluster {
  readonly world: World;
  readonly partitions: number;

  constructor(world: World) {
    this.world = world;
    this.partitions = world.scheduler.pick([1, 2]);
  }

  start(node: ServerNode): void {
    if (!node.machine.isUp) node.start(this.#configOf(node));
  }

  async primary(): Promise<ServerNode | undefined> {
    return this.world.nodes[0];
  }

  async mayLose(_: ServerNode): Promise<boolean> {
    return false;
  }

  /** Ends everything that hinders the servers. */
  healAll(): void {
    this.world.network.healAll();
    for (const node of this.world.nodes) {
      node.machine.resume();
      this.start(node);
    }
  }

  /** A client that calls the server that it knows to be the primary, or has worked last. */
  client(machine: Machine, number: number): MapClient {
    const { realms, network, nodes, scheduler } = this.world;
    const serverAt = (url: string) => nodes.find(({ options }) => options.url === url);
    const { createMap, Code, ConnectError } = realms.clients.program;
    const maps = nodes.map(({ options }) => {
      const transport = transportTo(options.url, { realm: realms.clients, network, serverAt, machine });
      return createMap<string>(transport, "m", { partitions: this.partitions });
    });
    let current = scheduler.pick(maps) as VersionedMap<string>;
    return {
      number,
      map: {
        get: (...args) => current.get(...args),
        put: (...args) => current.put(...args),
        remove: (...args) => current.remove(...args),
      },
      onFailure: (error) => {
        if (ConnectError.from(error).code !== Code.DeadlineExceeded || scheduler.random() < 0.5)
          current = scheduler.pick(maps) as VersionedMap<string>;
      },
    };
  }

  #configOf(node: ServerNode): ConfigInput {
    const urls = this.world.nodes.map(({ options }) => options.url);
    const [primary = "", ...backups] = urls;
    return { maps: { "/default": node.options.url === primary ? { backups } : { primary } } };
  }
}
