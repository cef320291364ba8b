import { setTimeout as sleep } from "node:timers/promises";
import type { Transport } from "@connectrpc/connect";
import { asyncDispose } from "../../src/lib/dispose.js";
import { randomFrom } from "../../src/lib/seeded-random.js";
import type { Change, Engine, KeyStore } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer, type Server, type ServerOptions } from "../../src/server/server.js";
import { PeerNetwork } from "./peer-network.js";

interface SeveralOptions extends Omit<ServerOptions, "engine"> {
  /** The number of servers. Default: 3. */
  count?: number;
  /** The engine that they share. Default: a memory engine. */
  engine?: Engine;
  /** The longest delay of an operation on keys each way, and of a change that is watched. Default: 4. */
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
  /** Closes the server. The engine stays open. */
  close(): Promise<void>;
}

export interface SeveralServers extends AsyncDisposable {
  readonly servers: OneOfSeveral[];
  readonly engine: Engine;
  readonly network: PeerNetwork;
  /** Starts one more server, with a configuration of its own if one is given. */
  add(options?: Pick<ServerOptions, "config">): OneOfSeveral;
}

/**
 * Servers in this process that share one engine as over a network: each operation on keys takes effect at some time
 * between its call and its result, and each server learns of changes late, in their order.
 */
export function openSeveral({
  count = 3,
  engine = memoryEngine(),
  delayMs = 4,
  ...options
}: SeveralOptions = {}): SeveralServers {
  const network = new PeerNetwork();
  const servers: OneOfSeveral[] = [];
  const seed = Math.floor(Math.random() * 2 ** 32);
  const add = (own: Pick<ServerOptions, "config"> = {}): OneOfSeveral => {
    const number = servers.length;
    const peers = network.join();
    const keys = distant(engine.keys, randomFrom(seed + number), delayMs);
    const close = async () => peers.leave();
    const logged: string[] = [];
    const note = (_: object, message: string) => void logged.push(message);
    const server = createServer({
      platform: nodePlatform,
      log: { debug() {}, info: note, warn: note, error: note },
      ...options,
      ...own,
      engine: { ...engine, keys, peers, close, [asyncDispose]: close },
    });
    let listening: ReturnType<typeof listen> | undefined;
    const one: OneOfSeveral = {
      server,
      transport: server.transport(),
      logged,
      listen: async () => (await (listening ??= listen(server, { port: 0 }))).url,
      close: async () => (listening ? (await listening).close() : server.close()),
    };
    servers.push(one);
    return one;
  };
  for (let i = 0; i < count; i++) add();
  return {
    servers,
    engine,
    network,
    add,
    async [Symbol.asyncDispose]() {
      for (const { close } of servers) await close();
      await engine.close();
    },
  };
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
