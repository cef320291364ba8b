import { randomFrom } from "../../src/lib/seeded-random.js";
import { sleep } from "../../src/rpc/sleep.js";
import type { CuttableProxy } from "../support/cuttable-proxy.js";
import { canMount } from "../support/nats-cluster/node.js";
import type { ClusterRun } from "./cluster-run.js";
import { nowMicros, Recorder } from "./operation.js";
import { noteFullDisk } from "./workloads/events.js";

/** Makes a fault, waits, ends it, and returns what it was. */
type Fault = (run: ClusterRun, chance: () => number) => Promise<string>;

const NODES = [0, 1, 2] as const;
const PARTS = ["keys", "logs", "topics", "blobs"] as const;

/** How long SIGSTOP lasts, in milliseconds: longer than the leases of locks, and than an election takes. */
const PAUSE_MS = 10_000;

const pick = <const T>(chance: () => number, choices: readonly T[]): T =>
  choices[Math.floor(chance() * choices.length)] as T;

/** A random duration in milliseconds. */
const between = (chance: () => number, least: number, most: number): number =>
  Math.round(least + chance() * (most - least));

/** All kinds of faults. */
const FAULTS = {
  killLeader: async (run, chance) => {
    const part = pick(chance, PARTS);
    const node = await run.nats.leaderOf(`${run.engine}-${part}`);
    return `${await killNode(run, chance, node)}, the leader of the ${part}`;
  },

  killKeysLeader: async (run, chance) => {
    const { nats, engine } = run;
    const node = await nats.leaderOf(`${engine}-keys`);
    const killedAtMs = Date.now();
    const what = await killNode(run, chance, node);
    const electionMs = (await nats.leaderSince(`${engine}-keys`)) - killedAtMs;
    return `${what}, the leader of the keys; another was elected after ${(electionMs / 1000).toFixed(2)} s`;
  },

  killFollower: async (run, chance) => {
    const leader = await run.nats.leaderOf(`${run.engine}-keys`);
    const node = pick(
      chance,
      NODES.filter((each) => each !== leader),
    );
    return `${await killNode(run, chance, node)}, a follower of the keys`;
  },

  killServer: async ({ servers }, chance) => {
    const { program } = pick(chance, servers);
    const ms = between(chance, 200, 1500);
    await program.stop();
    await sleep(ms);
    await program.start();
    return `SIGKILL of server ${program.name}, and restart after ${ms} ms`;
  },

  pauseNode: async ({ nats }, chance) => {
    const node = pick(chance, NODES);
    nats.pause(node);
    await sleep(PAUSE_MS);
    nats.resume(node);
    return `SIGSTOP of node n${node} for ${PAUSE_MS} ms`;
  },

  pauseServer: async ({ servers }, chance) => {
    const { program } = pick(chance, servers);
    const ms = between(chance, 2000, 4000);
    program.pause();
    await sleep(ms);
    program.resume();
    return `SIGSTOP of server ${program.name} for ${ms} ms`;
  },

  isolateNode: async ({ nats }, chance) => {
    const node = pick(chance, NODES);
    const links = NODES.flatMap((other) => (other === node ? [] : nats.link(node, other)));
    return `node n${node} cut off from the other nodes, ${await cut(links, chance)}`;
  },

  cutRoute: async ({ nats }, chance) => {
    const node = pick(chance, NODES);
    const other = (node + 1) % NODES.length;
    return `nodes n${node} and n${other} cut off from each other, ${await cut(nats.link(node, other), chance)}`;
  },

  cutServer: async ({ servers }, chance) => {
    const { program, nodes } = pick(chance, servers);
    // From one node or from all of them.
    const links = chance() < 0.5 ? nodes : [pick(chance, nodes)];
    return `server ${program.name} cut off from ${links.length} nodes, ${await cut(links, chance)}`;
  },

  cutClient: async ({ clients }, chance) => {
    const { program, servers, nodes } = pick(chance, clients);
    const links = chance() < 0.5 ? [...servers, ...nodes] : [pick(chance, servers)];
    return `client ${program.name}: ${links.length} links cut, ${await cut(links, chance)}`;
  },

  slowLinks: async ({ nats, servers }, chance) => {
    const node = pick(chance, NODES);
    const links = [
      ...NODES.flatMap((other) => (other === node ? [] : nats.link(node, other))),
      ...servers.flatMap(({ nodes }) => nodes.slice(node, node + 1)),
    ];
    const impairment = {
      latencyMs: between(chance, 5, 80),
      bytesPerSecond: between(chance, 100_000, 1_000_000),
    };
    const ms = between(chance, 2000, 4000);
    for (const link of links) link.impair(impairment);
    await sleep(ms);
    for (const link of links) link.heal();
    const { latencyMs, bytesPerSecond } = impairment;
    return `links of node n${node}: ${latencyMs} ms slower, ${bytesPerSecond} bytes/s, for ${ms} ms`;
  },

  fillDisk: async ({ nats, operations }, chance) => {
    const node = pick(chance, NODES);
    const ms = between(chance, 1500, 3000);
    const calledAt = nowMicros();
    await nats.node(node).fillDisk();
    await sleep(ms);
    await nats.node(node).freeDisk();
    // It has switched JetStream off, for good.
    await nats.kill(node);
    await nats.restart(node);
    const record = new Recorder("faults", (operation) => operations.push(operation));
    noteFullDisk(record, { calledAt, returnedAt: nowMicros() });
    return `full disk of node n${node} for ${ms} ms`;
  },

  rollingUpgrade: async ({ nats, servers, urls }) => {
    for (const node of NODES) {
      await nats.node(node).stop("SIGTERM");
      await nats.restart(node);
      await nats.ready(40_000);
    }
    for (const { program } of servers) {
      await program.stop("SIGTERM");
      await program.start();
    }
    return `rolling upgrade of ${NODES.length} nodes and ${urls.length} servers`;
  },
} as const satisfies Record<string, Fault>;

export type FaultKind = keyof typeof FAULTS;

async function killNode({ nats }: ClusterRun, chance: () => number, node: number): Promise<string> {
  const ms = between(chance, 300, 2000);
  await nats.kill(node);
  await sleep(ms);
  await nats.restart(node);
  return `SIGKILL of node n${node}, and restart after ${ms} ms`;
}

/** Cuts the links for a while: as a router that refuses, or as a network that drops everything. */
async function cut(links: readonly CuttableProxy[], chance: () => number): Promise<string> {
  const refuses = chance() < 0.5;
  const ms = between(chance, 1500, 5000);
  for (const link of links) refuses ? link.refuse() : link.impair({ bytesPerSecond: 0 });
  await sleep(ms);
  for (const link of links) link.heal();
  return `${refuses ? "refused" : "silent"}, for ${ms} ms`;
}

/** One fault of a schedule. Everything random in it comes from its seed. */
export interface PlannedFault {
  kind: FaultKind;
  seed: number;
}

/** The upgrade restarts six processes, so it comes once in so many faults. */
const UPGRADE_EVERY = 50;

/** Every kind of `only`, by default of all, once, and more of the quick ones, in random order. */
export function planFaults(seed: number, count: number, only: readonly string[] = []): PlannedFault[] {
  const chance = randomFrom(seed);
  const kinds = (Object.keys(FAULTS) as FaultKind[])
    .filter((kind) => kind !== "fillDisk" || canMount())
    .filter((kind) => only.length === 0 || only.includes(kind));
  if (kinds.length === 0)
    throw new Error(`No such fault: ${only}; the kinds are ${Object.keys(FAULTS).join(", ")}`);
  const deck: FaultKind[] = [];
  while (deck.length < count) {
    const quick = kinds.filter((kind) => kind !== "rollingUpgrade");
    const isUpgradeDue = quick.length === 0 || deck.length % UPGRADE_EVERY < quick.length;
    deck.push(...shuffle(isUpgradeDue ? kinds : quick, chance));
  }
  return shuffle(deck.slice(0, count), chance).map((kind) => ({
    kind,
    seed: Math.floor(chance() * 2 ** 32),
  }));
}

/** Makes the fault, and returns what it was when it has ended. */
export const makeFault = (run: ClusterRun, { kind, seed }: PlannedFault): Promise<string> =>
  FAULTS[kind](run, randomFrom(seed));

function shuffle<T>(items: readonly T[], chance: () => number): T[] {
  return items
    .map((item) => ({ item, at: chance() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
