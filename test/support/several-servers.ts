import { setTimeout as sleep } from "node:timers/promises";
import type { Transport } from "@connectrpc/connect";
import { asyncDispose } from "../../src/lib/dispose.js";
import { randomId } from "../../src/lib/random-id.js";
import { randomFrom } from "../../src/lib/seeded-random.js";
import type { Change, Engine, KeyStore } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { openJetStreamEngine } from "../../src/server/jetstream.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer, type Server, type ServerOptions } from "../../src/server/server.js";
import { PeerNetwork } from "./peer-network.js";
import { testEngine } from "./test-engine.js";

interface SeveralOptions extends Omit<ServerOptions, "engine"> {
  /** The number of servers. Default: 3. */
  count?: number;
  /** The memory engine that they share. Default: a new engine of the kind that this run tests. */
  engine?: Engine;
  /** The longest delay of an operation on a memory engine's keys each way, and of a watched change. Default: 4. */
  delayMs?: number;
}

/** One of several servers that share an engine. */
export interface OneOfSeveral {
  readonly server: Server;
  readonly transport: Transport;
  /** The messages of its log, except those of the calls. */
  readonly logged: string[];
  /** Opens a port, once. Returns the URL. */
  listen(): Promise<string>;
  /** Closes the server. The data is kept. */
  close(): Promise<void>;
}

export interface SeveralServers extends AsyncDisposable {
  readonly servers: OneOfSeveral[];
  /** The data of the servers. */
  readonly engine: Engine;
  /** What the servers send each other, if they share a memory engine. */
  readonly network: PeerNetwork;
  /** Starts one more server, with a configuration of its own if one is given. */
  add(options?: Pick<ServerOptions, "config">): Promise<OneOfSeveral>;
}

/** Servers in this process that share one engine: a memory engine as over a network, or a JetStream cluster. */
export async function openSeveral({
  count = 3,
  engine,
  delayMs = 4,
  ...options
}: SeveralOptions = {}): Promise<SeveralServers> {
  const network = new PeerNetwork();
  const shared =
    testEngine === "jetstream" && !engine
      ? await shareJetStream()
      : shareMemory(engine ?? memoryEngine(), network, delayMs);
  const servers: OneOfSeveral[] = [];
  const add = async (own: Pick<ServerOptions, "config"> = {}): Promise<OneOfSeveral> => {
    const one = startServer(await shared.open(), { ...options, ...own });
    servers.push(one);
    return one;
  };
  for (let i = 0; i < count; i++) await add();
  return {
    servers,
    engine: shared.engine,
    network,
    add,
    async [Symbol.asyncDispose]() {
      for (const { close } of servers) await close();
      await shared.engine.close();
    },
  };
}

function startServer(engine: Engine, options: ServerOptions): OneOfSeveral {
  const logged: string[] = [];
  const note = (_: object, message: string) => void logged.push(message);
  const log = { debug() {}, info: note, warn: note, error: note };
  const server = createServer({ platform: nodePlatform, log, ...options, engine });
  let listening: ReturnType<typeof listen> | undefined;
  return {
    server,
    transport: server.transport(),
    logged,
    listen: async () => (await (listening ??= listen(server, { port: 0 }))).url,
    close: async () => (listening ? (await listening).close() : server.close()),
  };
}

/** An engine's data, and the function that opens it for one more server. */
interface SharedEngine {
  engine: Engine;
  open(): Promise<Engine>;
}

async function shareJetStream(): Promise<SharedEngine> {
  const servers = [process.env["TEST_NATS_URL"] ?? ""];
  const open = { servers, replicas: 1, name: `several-${randomId()}` };
  return { engine: await openJetStreamEngine(open), open: () => openJetStreamEngine(open) };
}

/**
 * A memory engine as over a network: each operation on keys takes effect at some time between its call and its result,
 * and each server learns of changes late, in their order.
 */
function shareMemory(engine: Engine, network: PeerNetwork, delayMs: number): SharedEngine {
  const seed = Math.floor(Math.random() * 2 ** 32);
  let opened = 0;
  const open = async () => {
    const peers = network.join();
    const keys = distant(engine.keys, randomFrom(seed + opened++), delayMs);
    const close = async () => peers.leave();
    return { ...engine, keys, peers, close, [asyncDispose]: close };
  };
  return { engine, open };
}

/** A transport of which each call goes to the next server, as through a load balancer. */
export function spreadCalls(servers: readonly OneOfSeveral[]): Transport {
  let calls = 0;
  const next = () => (servers[calls++ % servers.length] as OneOfSeveral).transport;
  return {
    unary: (...args) => next().unary(...args),
    stream: (...args) => next().stream(...args),
  };
}

/** `keys` as a server sees them that is connected by a network. */
function distant(keys: KeyStore, chance: () => number, delayMs: number): KeyStore {
  const lag = () => sleep(chance() * delayMs);
  const late = async <T>(run: () => Promise<T>): Promise<T> => {
    await lag();
    const result = await run();
    await lag();
    return result;
  };
  return {
    get: (key) => late(() => keys.get(key)),
    getMany: (all) => late(() => keys.getMany(all)),
    commit: (writes) => late(() => keys.commit(writes)),
    async *list(prefix, after) {
      await lag();
      yield* keys.list(prefix, after);
    },
    watch: (prefix, signal) => lateChanges(keys.watch(prefix, signal), lag),
  };
}

async function* lateChanges(
  changes: AsyncIterable<Change>,
  lag: () => Promise<void>,
): AsyncGenerator<Change> {
  for await (const change of changes) {
    await lag();
    yield change;
  }
}
