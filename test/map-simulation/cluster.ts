import { fnv1a32 } from "../../src/client/map/fnv.js";
import type { VersionedMap } from "../../src/client/map.js";
import type { ConfigInput } from "../../src/server/config/config.js";
import type { FaultyCluster } from "./faults.js";
import { type GroupState, readGroup } from "./group-state.js";
import type { MapClient } from "./workload.js";
import type { Machine } from "./world/machine.js";
import { ELECTION_ENGINE, type ServerNode, transportTo } from "./world/server-node.js";
import type { World } from "./world.js";

/** The lease of the servers, in milliseconds. */
const LEASE_MS = 1500;

/** How long a backup may take to confirm a change before it leaves the in-sync set, in milliseconds. */
const ACK_TIMEOUT_MS = 400;

/** The servers of one group of maps, which elect the primaries of its partitions. */
export class Cluster implements FaultyCluster {
  readonly world: World;
  readonly partitions: number;
  readonly #replicas: number;

  constructor(world: World) {
    this.world = world;
    this.partitions = world.scheduler.pick([1, 2]);
    this.#replicas = world.scheduler.pick([2, 3, 3]);
  }

  partitionOf(key: string): number {
    return fnv1a32(key) % this.partitions;
  }

  start(node: ServerNode): void {
    if (!node.machine.isUp) node.start(this.#configOf(node));
  }

  state(): Promise<GroupState> {
    return readGroup(this.world);
  }

  /** Ends everything that hinders the servers. */
  healAll(): void {
    this.world.network.healAll();
    for (const node of this.world.nodes) {
      node.machine.resume();
      this.start(node);
    }
  }

  /** Waits until every partition has a primary, and as many copies in sync as are configured. */
  async whenInSync(withinMs: number): Promise<boolean> {
    const { scheduler } = this.world;
    const endMs = scheduler.nowMs + withinMs;
    while (scheduler.nowMs < endMs) {
      const { partitions } = await this.state();
      const inSync = partitions.every(({ primary, holders }) => primary && holders.length >= this.#replicas);
      if (inSync) return true;
      await scheduler.sleep(100);
    }
    return false;
  }

  /**
   * A client that begins with any server. With `follows` its map calls the primaries of which it learns. Otherwise it
   * stays with a server until a call fails there, also if that is not the primary any more.
   */
  client(machine: Machine, number: number, follows: boolean): MapClient {
    const { realms, network, nodes, scheduler } = this.world;
    const serverAt = (url: string) => nodes.find(({ options }) => options.url === url);
    const { createMap, primaryIn } = realms.clients.program;
    const dial = (url: string) => transportTo(url, { realm: realms.clients, network, serverAt, machine });
    const options = { partitions: this.partitions, ...(follows && { primaries: dial }) };
    const maps = new Map(
      nodes.map(({ options: { url } }): [string, VersionedMap<string>] => {
        return [url, createMap<string>(dial(url), "m", options)];
      }),
    );
    const all = [...maps.values()];
    const current = Array.from({ length: this.partitions }, () => scheduler.pick(all));
    const mapOf = (key: string) => current[this.partitionOf(key)] as VersionedMap<string>;
    return {
      number,
      map: {
        get: (key, ...args) => mapOf(key).get(key, ...args),
        put: (key, ...args) => mapOf(key).put(key, ...args),
        remove: (key, ...args) => mapOf(key).remove(key, ...args),
      },
      onFailure: (key, error) => {
        current[this.partitionOf(key)] = maps.get(primaryIn(error) ?? "") ?? scheduler.pick(all);
      },
    };
  }

  #configOf({ options: { url } }: ServerNode): ConfigInput {
    const election = { engine: ELECTION_ENGINE, url, replicas: this.#replicas, leaseMs: LEASE_MS };
    return { maps: { "/default": { election, ackTimeoutMs: ACK_TIMEOUT_MS } } };
  }
}
