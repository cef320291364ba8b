import { createHash } from "node:crypto";
import { Cluster } from "./cluster.js";
import { makeFaults } from "./faults.js";
import { findMapViolations, type MapOperation, type Violation } from "./map-history.js";
import { type MapClient, Workload } from "./workload.js";
import type { Machine } from "./world/machine.js";
import { CLIENTS, type Realms, World } from "./world.js";

/** How long faults are made, in milliseconds of virtual time. */
const FAULTS_MS = 12_000;

/** How long the servers may take to serve every key again, after the last fault or after the primary was killed. */
const RECOVERY_MS = 30_000;

/** The result of a simulation. */
export interface SimulationResult {
  readonly seed: number;
  readonly operations: readonly MapOperation[];
  readonly violations: readonly Violation[];
  /** Faults, and what the servers logged, with the virtual time. */
  readonly log: readonly string[];
  /** Equal for two runs in which the same happened at the same time. */
  readonly digest: string;
}

/** Runs the servers and clients of one seed. */
export async function simulate(realms: Realms, seed: number): Promise<SimulationResult> {
  const world = new World(realms, seed);
  const cluster = new Cluster(world);
  const workload = new Workload(world);
  const violations: Violation[] = [];
  let isDone = false;
  const run = async () => {
    for (const node of world.nodes) cluster.start(node);
    const clients = world.clients.map((machine, i) => cluster.client(machine, i, i >= CLIENTS / 2));
    const calls = clients.map((client) => workload.run(client));
    await makeFaults(cluster, FAULTS_MS);
    cluster.healAll();
    await world.scheduler.sleep(1000);
    workload.isStopping = true;
    await Promise.all(calls);
    violations.push(...(await readFromEveryServer(cluster, workload)));
  };
  let failure: unknown;
  run()
    .catch((error: unknown) => {
      failure = error;
    })
    .finally(() => {
      isDone = true;
    });
  const onWarning = ({ message }: Error) => {
    violations.push({ key: "", why: `Node warns: ${message}`, operations: [] });
  };
  process.on("warning", onWarning);
  await world.scheduler.runUntil(() => isDone).finally(() => process.off("warning", onWarning));
  if (failure) throw new Error(`seed ${seed}: ${failure}\n${world.log.join("\n")}`, { cause: failure });
  const { operations } = workload.history;
  for (let partition = 0; partition < cluster.partitions; partition++) {
    const own = operations.filter(({ input }) => cluster.partitionOf(input.key) === partition);
    violations.push(...findMapViolations(own));
  }
  return { seed, operations, violations, log: world.log, digest: digestOf(operations, world.log) };
}

/** Reads every key while the primary is killed, again and again, so that every copy is read that may be the primary's. */
async function readFromEveryServer(cluster: Cluster, workload: Workload): Promise<Violation[]> {
  const { world } = cluster;
  const reader = cluster.client(world.clients[0] as Machine, CLIENTS, true);
  for (let round = 0; ; round++) {
    const unread = await readAll(world, workload, reader);
    if (unread.length > 0 || round === world.nodes.length) return unread;
    for (const node of world.nodes) cluster.start(node);
    if (!(await cluster.whenInSync(RECOVERY_MS)))
      return [{ key: "", why: `copies are not in sync ${RECOVERY_MS} ms after a fault`, operations: [] }];
    const { partitions } = await cluster.state();
    const { primary } = world.scheduler.pick(partitions);
    world.say(`FAULT kill ${primary?.name}, to read from another server`);
    primary?.kill();
  }
}

/** Reads every key until each has an answer. Reports those that have none in time. */
async function readAll(world: World, workload: Workload, reader: MapClient): Promise<Violation[]> {
  const endMs = world.scheduler.nowMs + RECOVERY_MS;
  for (const key of workload.keys) {
    while (!(await workload.call(reader, { do: "get", key }))) {
      if (world.scheduler.nowMs > endMs)
        return [{ key, why: `cannot be read ${RECOVERY_MS} ms after the last fault`, operations: [] }];
      await world.scheduler.sleep(200);
    }
  }
  return [];
}

function digestOf(operations: readonly MapOperation[], log: readonly string[]): string {
  const text = JSON.stringify([operations, log], (_, value) =>
    typeof value === "bigint" ? `${value}n` : value,
  );
  return createHash("sha256").update(text).digest("hex");
}
