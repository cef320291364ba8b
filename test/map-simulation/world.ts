import type { Engine } from "../../src/server/engine.js";
import { Machine } from "./world/machine.js";
import { Network } from "./world/network.js";
import { Realm, type RealmSource } from "./world/realm.js";
import { Scheduler } from "./world/scheduler.js";
import { ServerNode } from "./world/server-node.js";

/** The instances of the program: one for each server, one for the stores, and one for the clients. */
export interface Realms {
  readonly servers: readonly Realm[];
  readonly stores: Realm;
  readonly clients: Realm;
}

const SERVERS = 3;
export const CLIENTS = 4;

/** Loads the program that `source` has compiled, once for each machine. */
export const loadRealms = (source: RealmSource): Realms => ({
  servers: Array.from({ length: SERVERS }, () => new Realm(source)),
  stores: new Realm(source),
  clients: new Realm(source),
});

/** The name of the machine that the electing engine runs on. */
export const ENGINE = "engine";

/** Servers with their stores, clients, an engine that elects, and the network between them. */
export class World {
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly nodes: readonly ServerNode[];
  readonly clients: readonly Machine[];
  readonly realms: Realms;
  /** The engine that elects. */
  readonly engine: Engine;
  /** What the servers have logged and which faults were made, with the time. */
  readonly log: string[] = [];

  constructor(realms: Realms, seed: number) {
    this.realms = realms;
    this.scheduler = new Scheduler(seed);
    this.network = new Network(this.scheduler);
    const stores = this.#machine(ENGINE);
    realms.stores.machine = stores;
    this.engine = realms.stores.program.memoryEngine();
    this.clients = Array.from({ length: CLIENTS }, (_, i) => this.#machine(`c${i + 1}`));
    realms.clients.machine = this.#machine("clients");
    this.nodes = realms.servers.map((realm, i) => {
      const machine = new Machine(`s${i + 1}`, this.scheduler);
      realm.machine = machine;
      return new ServerNode({
        url: `http://${machine.name}`,
        machine,
        realm,
        network: this.network,
        serverAt: this.#serverAt,
        electing: { engine: this.engine, machine: stores },
        createStore: () => realms.stores.program.memoryEngine(),
        log: (line) => this.say(line),
      });
    });
  }

  #machine(name: string): Machine {
    const machine = new Machine(name, this.scheduler);
    machine.start();
    return machine;
  }

  readonly #serverAt = (url: string): ServerNode | undefined =>
    this.nodes.find(({ options }) => options.url === url);

  say(line: string): void {
    this.log.push(`${this.scheduler.nowMs.toFixed(1).padStart(9)} ${line}`);
  }

  node(name: string): ServerNode {
    const node = this.nodes.find((each) => each.name === name);
    if (!node) throw new Error(`no server has the name ${name}`);
    return node;
  }
}
