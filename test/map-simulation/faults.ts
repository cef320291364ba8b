import type { GroupState } from "./group-state.js";
import type { ServerNode } from "./world/server-node.js";
import { CLIENTS, ENGINE, type World } from "./world.js";

/** What faults need of the cluster. */
export interface FaultyCluster {
  readonly world: World;
  state(): Promise<GroupState>;
  start(node: ServerNode): void;
}

/** A fault that has begun: what it is, and how it ends. */
interface Fault {
  readonly what: string;
  end(): void;
}

type MakeFault = (cluster: FaultyCluster) => Promise<Fault | undefined>;

/** The kinds of faults, and how often each is chosen in relation to the others. */
const kinds: readonly (readonly [weight: number, make: MakeFault])[] = [
  [3, async (cluster) => kill(cluster, await primaryOrAny(cluster))],
  [1, async (cluster) => kill(cluster, any(cluster))],
  [1, async (cluster) => close(cluster, await primaryOrAny(cluster))],
  [3, async (cluster) => pause(cluster, await primaryOrAny(cluster))],
  [1, async (cluster) => pause(cluster, any(cluster))],
  [1, loseData],
  [3, async (cluster) => cutOff(cluster, await primaryOrAny(cluster))],
  [2, async (cluster) => cutFromEngine(cluster, await primaryOrAny(cluster))],
  [2, cutOneWay],
  [2, async (cluster) => cutFromServers(cluster, await primaryOrAny(cluster))],
  [1, loseEngine],
  [2, resetConnections],
  [2, slowLinks],
  [1, setWallClock],
];

/** Makes faults, one or two at a time, until `untilMs` of virtual time. Then all are ended. */
export async function makeFaults(cluster: FaultyCluster, untilMs: number): Promise<void> {
  const { world } = cluster;
  const { scheduler } = world;
  const all = kinds.flatMap(([weight, make]) => Array.from({ length: weight }, () => make));
  let open: Fault[] = [];
  while (scheduler.nowMs < untilMs) {
    await scheduler.sleep(scheduler.between(100, 800));
    const fault = await scheduler.pick(all)(cluster);
    if (fault) {
      world.say(`FAULT ${fault.what}`);
      open.push(fault);
    }
    await scheduler.sleep(scheduler.between(200, 4000));
    const isDouble = open.length === 1 && scheduler.random() < 0.3;
    if (!isDouble) {
      for (const { what, end } of open) {
        world.say(`END   ${what}`);
        end();
      }
      open = [];
    }
  }
  for (const { end } of open) end();
}

const any = ({ world }: FaultyCluster): ServerNode => world.scheduler.pick(world.nodes);

async function primaryOrAny(cluster: FaultyCluster): Promise<ServerNode> {
  const { partitions } = await cluster.state();
  const primaries = partitions.flatMap(({ primary }) => primary ?? []);
  return primaries.length > 0 ? cluster.world.scheduler.pick(primaries) : any(cluster);
}

const otherNames = ({ world }: FaultyCluster, { name }: ServerNode): string[] =>
  world.nodes.map((node) => node.name).filter((other) => other !== name);

/** Kills the process, and starts another one on its data when the fault ends. */
function kill(cluster: FaultyCluster, node: ServerNode): Fault | undefined {
  if (!node.machine.isUp) return undefined;
  node.kill();
  breakConnections(cluster, node);
  return { what: `kill ${node.name}`, end: () => cluster.start(node) };
}

/** Closes a server as a deployment does, which starts it again later. */
function close(cluster: FaultyCluster, node: ServerNode): Fault | undefined {
  if (!node.machine.isUp || node.machine.isPaused) return undefined;
  node.close();
  return {
    what: `close ${node.name}`,
    end: () => {
      if (node.machine.isUp) node.kill();
      cluster.start(node);
    },
  };
}

/** Deletes the data of a server, if others have everything that was acknowledged. */
async function loseData(cluster: FaultyCluster): Promise<Fault | undefined> {
  const node = any(cluster);
  const { partitions } = await cluster.state();
  const isKept = partitions.every(({ holders }) => holders.some((holder) => holder !== node));
  if (!node.machine.isUp || !isKept) return undefined;
  node.kill();
  node.wipe();
  breakConnections(cluster, node);
  return { what: `delete the data of ${node.name}`, end: () => cluster.start(node) };
}

function breakConnections({ world }: FaultyCluster, { name }: ServerNode): void {
  for (const other of [...world.nodes, ...world.clients.map((machine) => ({ name: machine.name }))])
    world.network.break(name, other.name, "connection reset");
}

function pause(_: FaultyCluster, node: ServerNode): Fault | undefined {
  if (!node.machine.isUp) return undefined;
  node.machine.pause();
  return { what: `pause ${node.name}`, end: () => node.machine.resume() };
}

/** Cuts a server off from the other servers, the engine and some clients. Its wall clock may be set back as well. */
function cutOff(cluster: FaultyCluster, node: ServerNode): Fault {
  const { scheduler, clients } = cluster.world;
  const far = clients.map(({ name }) => name).filter(() => scheduler.random() < 0.5);
  if (scheduler.random() < 0.7) node.machine.wallOffsetMs -= 60_000;
  const ways = bothWays(node.name, [...otherNames(cluster, node), ENGINE, ...far]);
  return cut(cluster, ways, `cut off ${node.name} from all but ${CLIENTS - far.length} clients`);
}

function cutFromEngine(cluster: FaultyCluster, node: ServerNode): Fault {
  return cut(cluster, bothWays(node.name, [ENGINE]), `cut ${node.name} off from the engine`);
}

function cutFromServers(cluster: FaultyCluster, node: ServerNode): Fault {
  const others = otherNames(cluster, node);
  return cut(cluster, bothWays(node.name, others), `cut ${node.name} off from the servers`);
}

async function cutOneWay(cluster: FaultyCluster): Promise<Fault> {
  const { scheduler } = cluster.world;
  const node = await primaryOrAny(cluster);
  const other = scheduler.pick([...otherNames(cluster, node), ENGINE]);
  const link: Way = scheduler.random() < 0.5 ? [node.name, other] : [other, node.name];
  return cut(cluster, [link], `cut ${link.join(" -> ")}`);
}

async function loseEngine(cluster: FaultyCluster): Promise<Fault> {
  const links = cluster.world.nodes.flatMap(({ name }) => bothWays(name, [ENGINE]));
  return cut(cluster, links, "cut the engine off");
}

type Way = [from: string, to: string];

const bothWays = (name: string, others: readonly string[]): Way[] =>
  others.flatMap((other): Way[] => [
    [name, other],
    [other, name],
  ]);

/** Cuts links. Messages are held, and delivered late; or the connections break when it ends, and they are lost. */
function cut({ world }: FaultyCluster, ways: readonly Way[], what: string): Fault {
  const { network, scheduler } = world;
  const breaks = scheduler.random() < 0.4;
  for (const [from, to] of ways) network.cut(from, to);
  return {
    what: `${what}${breaks ? ", and break the connections" : ""}`,
    end() {
      for (const [from, to] of ways) {
        if (breaks && from !== ENGINE && to !== ENGINE) network.break(from, to, "connection timed out");
        network.heal(from, to);
      }
    },
  };
}

/** Resets the connections of a server to the others, again and again; messages under way are lost. */
async function resetConnections(cluster: FaultyCluster): Promise<Fault> {
  const { network, scheduler } = cluster.world;
  const node = await primaryOrAny(cluster);
  let hasEnded = false;
  const reset = () => {
    if (hasEnded) return;
    for (const other of otherNames(cluster, node)) {
      network.cut(node.name, other);
      scheduler.after(scheduler.between(2, 40), () => {
        network.break(node.name, other, "connection reset");
        if (!hasEnded) network.heal(node.name, other);
      });
    }
    scheduler.after(scheduler.between(60, 250), reset);
  };
  reset();
  return {
    what: `reset the connections of ${node.name}`,
    end() {
      hasEnded = true;
      for (const other of otherNames(cluster, node)) network.heal(node.name, other);
    },
  };
}

async function slowLinks(cluster: FaultyCluster): Promise<Fault> {
  const { network, scheduler } = cluster.world;
  const node = await primaryOrAny(cluster);
  const ways = bothWays(node.name, [...otherNames(cluster, node), ENGINE]);
  const extraMs = scheduler.pick([20, 200, 800]);
  for (const [from, to] of ways) network.slow(from, to, extraMs);
  return {
    what: `slow the links of ${node.name} by up to ${extraMs} ms`,
    end() {
      for (const [from, to] of ways) network.slow(from, to, 0);
    },
  };
}

async function setWallClock(cluster: FaultyCluster): Promise<Fault> {
  const { scheduler } = cluster.world;
  const { machine } = await primaryOrAny(cluster);
  const ms = scheduler.pick([-3_600_000, -2000, 2000, 3_600_000]);
  machine.wallOffsetMs += ms;
  return { what: `set the wall clock of ${machine.name} by ${ms} ms`, end: () => {} };
}
