import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleep } from "../../src/rpc/sleep.js";
import { type CuttableProxy, openCuttableProxy } from "./cuttable-proxy.js";
import { freePorts } from "./free-ports.js";
import { NatsNode } from "./nats-cluster/node.js";
import { reapFolder } from "./process-reaper.js";

export { hasNatsServer, INSTALL_COMMAND } from "./nats-cluster/program.js";

/** The options of startNats(). */
export interface NatsOptions {
  /** The number of nodes. Default: 3. */
  nodes?: 1 | 3;
  /** How often the nodes sync their files: `sync_interval`. "always": before each acknowledgement. Default: "2m". */
  syncInterval?: string;
  /** The most bytes of a message: `max_payload`. nats-server's own default is "1MB". Default: "8MB". */
  maxPayload?: string;
  /** Puts a proxy between each two nodes: see link(). Default: false. */
  proxied?: boolean;
  /** Gives each node a file system of that size for its data, which takes root. Default: a folder. */
  diskBytes?: number;
}

/** One nats-server or a cluster of three, with JetStream, on loopback. Nodes are numbered from 0. */
export interface NatsCluster extends AsyncDisposable {
  readonly nodes: readonly NatsNode[];
  /** The folder of the nodes' data, settings and logs. */
  readonly folder: string;
  /** The URLs of all nodes, without proxies. */
  readonly urls: string[];
  node(number: number): NatsNode;
  /** Opens proxies to all nodes, in their order: the links of one client. They are closed with the cluster. */
  openLinks(): Promise<CuttableProxy[]>;
  /** The proxies between two nodes. Without `proxied` there are none. */
  link(a: number, b: number): readonly CuttableProxy[];
  /** Kills a node by SIGKILL. */
  kill(number: number): Promise<void>;
  /** Starts a node that was killed, on its ports and data. */
  restart(number: number): Promise<void>;
  /** Stops a node in place by SIGSTOP; resume() continues it. */
  pause(number: number): void;
  resume(number: number): void;
  /** Waits until all running nodes are in sync: they know the meta leader, and have all that their streams have. */
  ready(timeoutMs?: number): Promise<void>;
  /** Waits for the leader of `stream`, and returns its number. */
  leaderOf(stream: string, timeoutMs?: number): Promise<number>;
  /** Waits for the leader of `stream`, and returns the Unix time in milliseconds of its election. */
  leaderSince(stream: string): Promise<number>;
}

/** Starts nodes and waits until they accept JetStream requests. */
export async function startNats(options: NatsOptions = {}): Promise<NatsCluster> {
  const folder = await mkdtemp(join(tmpdir(), "fairlead-nats-"));
  reapFolder(folder);
  const links = new Links();
  const nodes = await createNodes(folder, links, options);
  const dispose = async () => {
    await Promise.all(nodes.map((node) => node.dispose()));
    await links.close();
    await rm(folder, { recursive: true, force: true });
  };
  const node = (number: number): NatsNode => {
    const found = nodes[number];
    if (!found)
      throw new RangeError(`There is no node ${number}: nodes are numbered 0 to ${nodes.length - 1}`);
    return found;
  };
  const cluster: NatsCluster = {
    nodes,
    folder,
    urls: nodes.map(({ url }) => url),
    node,
    openLinks: () => Promise.all(nodes.map(({ port }) => links.open(port))),
    link: (a, b) => links.between(a, b),
    kill: (number) => node(number).stop(),
    restart: (number) => node(number).start(),
    pause: (number) => node(number).pause(),
    resume: (number) => node(number).resume(),
    ready: (timeoutMs) => untilReady(nodes, timeoutMs),
    leaderOf: (stream, timeoutMs) => streamLeader(nodes, stream, timeoutMs),
    leaderSince: (stream) =>
      poll(30_000, nodes, `no leader of ${stream} knows since when`, async () => {
        // The others name a former leader until they elect another one.
        const leader = node(await streamLeader(nodes, stream));
        const since = (await streamCluster(leader, stream))?.leader_since;
        return since === undefined ? undefined : Date.parse(since);
      }),
    [Symbol.asyncDispose]: dispose,
  };
  try {
    await Promise.all(nodes.map((each) => each.start()));
    await cluster.ready();
  } catch (error) {
    await dispose();
    throw error;
  }
  return cluster;
}

async function createNodes(
  folder: string,
  links: Links,
  { nodes: count = 3, syncInterval = "2m", maxPayload = "8MB", proxied = false, diskBytes }: NatsOptions,
): Promise<NatsNode[]> {
  const numbers = Array.from({ length: count }, (_, i) => i);
  const [ports, monitorPorts, clusterPorts] = await freePorts(3 * count).then((all) => [
    all.slice(0, count),
    all.slice(count, 2 * count),
    all.slice(2 * count),
  ]);
  const portOf = (all: number[] | undefined, i: number) => all?.[i] ?? 0;
  return Promise.all(
    numbers.map(async (i) => {
      const others = numbers.filter((other) => other !== i);
      const route = (to: number) =>
        proxied ? links.openRoute(i, to, portOf(clusterPorts, to)) : portOf(clusterPorts, to);
      const routes = await Promise.all(others.map(route));
      await mkdir(join(folder, `n${i}`));
      return new NatsNode({
        name: `n${i}`,
        folder: join(folder, `n${i}`),
        port: portOf(ports, i),
        monitorPort: portOf(monitorPorts, i),
        cluster: count === 1 ? undefined : { port: portOf(clusterPorts, i), routes },
        syncInterval,
        maxPayload,
        diskBytes,
      });
    }),
  );
}

/** The proxies of a cluster. */
class Links {
  readonly #all: CuttableProxy[] = [];
  readonly #routes = new Map<string, CuttableProxy[]>();

  async open(port: number): Promise<CuttableProxy> {
    const proxy = await openCuttableProxy(port);
    this.#all.push(proxy);
    return proxy;
  }

  /** The port of a new proxy for the routes of one node to another. */
  async openRoute(from: number, to: number, port: number): Promise<number> {
    const proxy = await this.open(port);
    const pair = pairOf(from, to);
    this.#routes.set(pair, [...(this.#routes.get(pair) ?? []), proxy]);
    return proxy.port;
  }

  between(a: number, b: number): readonly CuttableProxy[] {
    return this.#routes.get(pairOf(a, b)) ?? [];
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map((proxy) => proxy[Symbol.asyncDispose]()));
  }
}

const pairOf = (a: number, b: number): string => `${Math.min(a, b)} ${Math.max(a, b)}`;

/** The parts of the answer to /jsz that are read. */
interface JetStreamStatus {
  meta_cluster?: { leader?: string; replicas?: { current: boolean }[] };
  account_details?: { stream_detail?: { name: string; cluster?: StreamCluster }[] }[];
}

/** The leader of a stream; only the leader itself knows since when. */
type StreamCluster = { leader?: string; leader_since?: string };

async function untilReady(nodes: readonly NatsNode[], timeoutMs = 30_000): Promise<void> {
  const statusOf = async (node: NatsNode) => {
    const isHealthy = await node.monitor("/healthz");
    return isHealthy ? (await node.monitor<JetStreamStatus>("/jsz"))?.meta_cluster : undefined;
  };
  await poll(timeoutMs, nodes, "the nodes are not ready", async () => {
    const running = nodes.filter(({ isRunning }) => isRunning);
    if (nodes.length === 1) return (await nodes[0]?.monitor("/healthz")) ? true : undefined;
    const all = await Promise.all(running.map(statusOf));
    // Only the leader tells which others follow it. Streams are not placed on a node that does not yet.
    const followers = all.map((status) => status?.replicas?.filter(({ current }) => current).length ?? 0);
    const isComplete = all.every((status) => status?.leader) && Math.max(...followers) >= running.length - 1;
    return running.length > 0 && isComplete ? true : undefined;
  });
}

function streamLeader(nodes: readonly NatsNode[], stream: string, timeoutMs = 30_000): Promise<number> {
  return poll(timeoutMs, nodes, `stream ${stream} has no leader`, async () => {
    const named = await Promise.all(nodes.map((node) => leaderByNode(node, nodes.length, stream)));
    // A leader that was cut off still believes in itself for a while.
    const number = nodes.findIndex(({ name, isRunning }) => {
      return isRunning && named.filter((each) => each === name).length > nodes.length / 2;
    });
    return number === -1 ? undefined : number;
  });
}

/** The name of the leader of the stream, as `node` knows it. */
async function leaderByNode(node: NatsNode, count: number, stream: string): Promise<string | undefined> {
  const found = await streamCluster(node, stream);
  return count === 1 ? found && node.name : found?.leader;
}

/** What `node` knows of the stream; undefined if there is no such stream, or no answer. */
async function streamCluster(node: NatsNode, stream: string): Promise<StreamCluster | undefined> {
  const status = await node.monitor<JetStreamStatus>("/jsz?accounts=true&streams=true");
  const streams = status?.account_details?.flatMap(({ stream_detail = [] }) => stream_detail) ?? [];
  const found = streams.find(({ name }) => name === stream);
  return found && (found.cluster ?? {});
}

/** Polls until `read` returns a value. After `timeoutMs` it throws `failure`, with the logs of the nodes. */
async function poll<T>(
  timeoutMs: number,
  nodes: readonly NatsNode[],
  failure: string,
  read: () => Promise<T | undefined>,
): Promise<T> {
  const endsAtMs = Date.now() + timeoutMs;
  for (;;) {
    const value = await read();
    if (value !== undefined) return value;
    if (Date.now() > endsAtMs) break;
    await sleep(50);
  }
  const logs = await Promise.all(nodes.map(async (node) => `== ${node.name}\n${await node.log()}`));
  throw new Error(`After ${timeoutMs} ms ${failure}:\n${logs.join("\n")}`);
}
