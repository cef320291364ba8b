import { join } from "node:path";
import { createClient } from "../../src/client/client.js";
import { sleep } from "../../src/rpc/sleep.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { bundleProgram } from "../support/bundle.js";
import { ChildProgram } from "../support/child-program.js";
import { type CuttableProxy, openCuttableProxy } from "../support/cuttable-proxy.js";
import { freePorts } from "../support/free-ports.js";
import { canMount } from "../support/nats-cluster/node.js";
import { type NatsCluster, startNats } from "../support/nats-cluster.js";
import type { ClientSettings, Command, Report } from "./client.js";
import { areComplete } from "./judge.js";
import { type Operation, Recorder } from "./operation.js";
import type { ServerSettings } from "./server.js";
import { workloads } from "./workloads.js";

const NODES = 3;
const SERVERS = 3;
const CLIENTS = 3;

/** What the names of the engine's streams begin with. */
const ENGINE = "run";

/** The size of each node's disk. Larger than what a run stores. */
const DISK_BYTES = 256 << 20;

/** How long followers and consumers may take to get the last of what was acknowledged, in milliseconds. */
const COMPLETE_MS = 30_000;

/** A process, and its links to those that it calls. */
export interface Member {
  readonly program: ChildProgram;
  /** The proxies to the NATS nodes. */
  readonly nodes: readonly CuttableProxy[];
  /** The proxies to the reference servers: of a client only. */
  readonly servers: readonly CuttableProxy[];
}

/** The processes of a run. */
interface Processes {
  nats: NatsCluster;
  servers: readonly Member[];
  clients: readonly Member[];
  /** The URLs of the servers, without proxies. */
  urls: readonly string[];
}

/** Three NATS nodes, three reference servers and three clients, each in a process of its own. */
export class ClusterRun implements AsyncDisposable {
  readonly engine = ENGINE;
  readonly nats: NatsCluster;
  readonly servers: readonly Member[];
  readonly clients: readonly Member[];
  readonly urls: readonly string[];
  /** Everything that the clients did, in the order in which they reported it. */
  readonly operations: Operation[];
  readonly #reports: Reports;

  private constructor({ nats, servers, clients, urls }: Processes, reports: Reports) {
    this.nats = nats;
    this.servers = servers;
    this.clients = clients;
    this.urls = urls;
    this.operations = reports.operations;
    this.#reports = reports;
  }

  /** Starts all processes, and the work of the clients. */
  static async start({ seed, replicas = NODES }: { seed: number; replicas?: number }): Promise<ClusterRun> {
    const nats = await startNats({ proxied: true, ...(canMount() && { diskBytes: DISK_BYTES }) });
    const ports = await freePorts(SERVERS);
    const reports = new Reports();
    const servers = await createServers(nats, ports, replicas);
    const clients = await createClientPrograms(nats, ports, { seed, replicas, reports });
    const urls = ports.map((port) => `http://127.0.0.1:${port}`);
    const run = new ClusterRun({ nats, servers, clients, urls }, reports);
    try {
      for (const { program } of servers) await program.start();
      await Promise.all(clients.map(({ program }) => program.start()));
      await run.untilDone("open", 60_000);
      run.command("go");
    } catch (error) {
      await run[Symbol.asyncDispose]();
      throw error;
    }
    return run;
  }

  command(command: Command["command"]): void {
    for (const { program } of this.clients) program.send({ command } satisfies Command);
  }

  /** Stops the clients, waits until their followers have everything, and reads the final state. */
  async finish(): Promise<void> {
    this.command("stop");
    await this.untilDone("stop", 60_000);
    const endsAtMs = Date.now() + COMPLETE_MS;
    // What is missing then is what the checks report.
    while (!areComplete(this.operations) && Date.now() < endsAtMs) await sleep(200);
    const fairlead = createClient(createNodeTransport(this.urls[0] ?? ""));
    const record = new Recorder("final", (operation) => this.operations.push(operation));
    for (const { readFinal } of workloads) await readFinal?.({ fairlead, record });
    await fairlead.close();
    this.command("end");
    await this.untilDone("end", 30_000);
  }

  /** Waits until all clients have reported that they have done what a command asked for. */
  async untilDone(what: "open" | "stop" | "end", timeoutMs: number): Promise<void> {
    await this.until(timeoutMs, `the clients did not ${what}`, () => {
      return this.clients.every(({ program }) => this.#reports.has(program.name, what));
    });
  }

  /** Polls until `holds`. After `timeoutMs` it throws `failure`, with the output of all processes. */
  async until(timeoutMs: number, failure: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const endsAtMs = Date.now() + timeoutMs;
    while (!(await holds())) {
      const ended = this.clients.find(({ program }) => !program.isRunning);
      if (Date.now() > endsAtMs || ended)
        throw new Error(`After ${timeoutMs} ms ${failure}\n${this.output()}`);
      await sleep(20);
    }
  }

  /** The end of the output of each process. */
  output(): string {
    return [...this.servers, ...this.clients]
      .map(({ program }) => `== ${program.name}\n${program.output.slice(-3000)}`)
      .join("\n");
  }

  /** Waits until the cluster, the servers and the clients work again. */
  async recover(): Promise<void> {
    await this.nats.ready(40_000);
    for (const [i, url] of this.urls.entries()) {
      await this.until(30_000, `server s${i} is not ready`, () => isReady(url));
    }
    const from = process.hrtime.bigint() / 1000n;
    await this.until(30_000, "a client got no answer", () => {
      const isAnswered = (client: string) =>
        this.operations.some(({ workload, outcome, calledAt, ...each }) => {
          return each.client === client && workload === "probe" && outcome === "ok" && calledAt > from;
        });
      return this.clients.every(({ program }) => isAnswered(program.name));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const members = [...this.clients, ...this.servers];
    await Promise.all(members.map(({ program }) => program.stop()));
    const proxies = this.clients.flatMap(({ servers }) => servers);
    await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()));
    await this.nats[Symbol.asyncDispose]();
  }
}

/** What the clients have reported. */
class Reports {
  readonly operations: Operation[] = [];
  readonly #done = new Set<string>();

  add(client: string, report: Report): void {
    if ("operations" in report) this.operations.push(...report.operations);
    else this.#done.add(`${client} ${report.done}`);
  }

  has(client: string, done: string): boolean {
    return this.#done.has(`${client} ${done}`);
  }
}

async function createServers(
  nats: NatsCluster,
  ports: readonly number[],
  replicas: number,
): Promise<Member[]> {
  const file = await bundleProgram(join(import.meta.dirname, "server.ts"));
  return Promise.all(
    ports.map(async (port, i) => {
      const nodes = await nats.openLinks();
      const settings: ServerSettings = { port, servers: urlsOf(nodes, i), engine: ENGINE, replicas };
      return { program: new ChildProgram(`s${i}`, file, settings), nodes, servers: [] };
    }),
  );
}

async function createClientPrograms(
  nats: NatsCluster,
  ports: readonly number[],
  { seed, replicas, reports }: { seed: number; replicas: number; reports: Reports },
): Promise<Member[]> {
  const file = await bundleProgram(join(import.meta.dirname, "client.ts"));
  const create = async (_: unknown, i: number): Promise<Member> => {
    const name = `c${i}`;
    const nodes = await nats.openLinks();
    const servers = await Promise.all(ports.map((port) => openCuttableProxy(port)));
    const urls = rotate(
      servers.map(({ url }) => url),
      i,
    );
    const settings: ClientSettings = {
      ...{ name, seed: seed + i, urls },
      ...{ servers: urlsOf(nodes, i), engine: ENGINE, replicas },
    };
    const program = new ChildProgram(name, file, settings, (report) => reports.add(name, report as Report));
    return { program, nodes, servers };
  };
  return Promise.all(Array.from({ length: CLIENTS }, create));
}

const rotate = <T>(items: readonly T[], by: number): T[] => [...items.slice(by), ...items.slice(0, by)];

/** The NATS URLs of proxies, each process with another one first. */
const urlsOf = (proxies: readonly CuttableProxy[], first: number): string[] =>
  rotate(
    proxies.map(({ port }) => `nats://127.0.0.1:${port}`),
    first,
  );

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) })).ok;
  } catch {
    return false;
  }
}
