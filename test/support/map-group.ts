import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { infoIn } from "../../src/client/errors/facts.js";
import { createMap, type VersionedMap } from "../../src/client/map.js";
import { asyncDispose } from "../../src/lib/dispose.js";
import type { ConfigInput } from "../../src/server/config/config.js";
import type { Logger } from "../../src/server/context.js";
import { type Engine, EngineFault } from "../../src/server/engine.js";
import { nodePlatform } from "../../src/server/node.js";
import { createServer, type Server } from "../../src/server/server.js";
import { lasting } from "./map-servers.js";

type Election = NonNullable<NonNullable<ConfigInput["maps"]>[string]["election"]>;

type StartOptions = Partial<Omit<Election, "engine">> & { engine?: Engine; electionEngine?: Engine };

/** One server of a group that elects its primaries, in this process. */
export interface GroupServer extends AsyncDisposable {
  url: string;
  engine: Engine;
  server: Server;
  /** A map through this server only: calls fail while it is not the primary. */
  map: VersionedMap<number>;
  /** All log lines so far. */
  logged: string[];
  close(): Promise<void>;
}

/** Servers of one group in this process, with an electing engine and a network that can be cut. */
export interface MapGroupServers extends AsyncDisposable {
  start(name: string, options?: StartOptions): GroupServer;
  /** Ends the process of a server: it answers nothing, and says nothing, any more. */
  kill(server: GroupServer): void;
  /** Cuts the calls from `from` to `to`, also those under way, or mends the link. */
  link(from: GroupServer, to: GroupServer, isUp: boolean): void;
  /** Cuts a server off from the electing engine, or connects it again. */
  elects(server: GroupServer, isUp: boolean): void;
  readonly electing: Engine;
}

/** The lease of the servers, short for tests. */
export const LEASE_MS = 400;

export function mapGroupServers(): MapGroupServers {
  const electing = lasting();
  const running = new Map<string, Server>();
  const cuts = new Map<string, AbortController>();
  const dead = new Map<string, AbortController>();
  const all: Server[] = [];
  const away = new Set<string>();

  const dialFrom = (from: string, killed: AbortSignal) => (to: string) =>
    networkTransport(
      () => running.get(to)?.transport(),
      () => [cutOf(cuts, `${from} ${to}`).signal, cutOf(dead, to).signal, killed],
    );

  return {
    electing,
    start(name, { engine = lasting(), electionEngine = electing, ...election } = {}) {
      const url = `http://${name}.test`;
      const logged: string[] = [];
      const told = (fields: object, message: string) =>
        logged.push(`${message} ${JSON.stringify(fields, asText)}`);
      const log: Logger = { debug() {}, info: told, warn: told, error: told };
      const killed = new AbortController();
      dead.set(url, killed);
      const server = createServer({
        engine,
        electionEngine: guarded(electionEngine, killed.signal, () => away.has(url)),
        log,
        platform: { ...nodePlatform, dial: dialFrom(url, killed.signal) },
        config: {
          maps: {
            "/default": {
              ackTimeoutMs: 300,
              election: { engine: electionEngine.name, url, leaseMs: LEASE_MS, ...election },
            },
          },
        },
      });
      running.set(url, server);
      all.push(server);
      const map = createMap<number>(server.transport(), "m");
      const { close } = server;
      return { url, engine, server, map, logged, close, [asyncDispose]: close };
    },
    kill({ url }) {
      running.delete(url);
      cutOf(dead, url).abort();
    },
    link(from, to, isUp) {
      const id = `${from.url} ${to.url}`;
      if (isUp) cuts.delete(id);
      else cutOf(cuts, id).abort();
    },
    elects({ url }, isUp) {
      if (isUp) away.delete(url);
      else away.add(url);
    },
    async [asyncDispose]() {
      await Promise.all(all.map((server) => server.close()));
    },
  };
}

const asText = (_key: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);

function cutOf(cuts: Map<string, AbortController>, id: string): AbortController {
  let cut = cuts.get(id);
  if (!cut) cuts.set(id, (cut = new AbortController()));
  return cut;
}

/** The engine as a process uses it: after `dead` aborts, its calls do nothing and never settle. */
function guarded(engine: Engine, dead: AbortSignal, isAway: () => boolean): Engine {
  const { keys } = engine;
  const never = new Promise<never>(() => {});
  const alive = async <T>(call: () => Promise<T>): Promise<T> => {
    if (dead.aborted) return never;
    if (isAway()) throw new EngineFault("unavailable", "the electing engine is cut off");
    return call();
  };
  return {
    ...lasting(engine),
    keys: {
      get: (key) => alive(() => keys.get(key)),
      getMany: (many) => alive(() => keys.getMany(many)),
      commit: (writes) => alive(() => keys.commit(writes)),
      list: (...args) => unlessAway(keys.list(...args), isAway),
      watch(prefix, signal) {
        const changes = keys.watch(prefix, AbortSignal.any([signal, dead]));
        return unlessAway(changes, isAway);
      },
    },
  };
}

async function* unlessAway<T>(items: AsyncIterable<T>, isAway: () => boolean): AsyncGenerator<T> {
  for await (const item of items) {
    if (isAway()) throw new EngineFault("unavailable", "the electing engine is cut off");
    yield item;
  }
}

/** A transport to the server that `find` returns at the time of the call. A signal of `cuts` ends its calls. */
function networkTransport(find: () => Transport | undefined, cuts: () => AbortSignal[]): Transport {
  const target = () => {
    const found = find();
    if (!found || cuts().some(({ aborted }) => aborted)) throw unreachable();
    return found;
  };
  const linked = (signal: AbortSignal | undefined) =>
    AbortSignal.any([...(signal ? [signal] : []), ...cuts()]);
  return {
    unary: async (method, signal, ...rest) => target().unary(method, linked(signal), ...rest),
    stream: async (method, signal, ...rest) => target().stream(method, linked(signal), ...rest),
  };
}

const unreachable = () => new ConnectError("cannot be reached", Code.Unavailable);

/** Runs `call` on the server that is the primary, as a client that follows does, until `withinMs` have passed. */
export async function onPrimary<T>(
  servers: readonly GroupServer[],
  call: (server: GroupServer) => Promise<T>,
  withinMs = 10_000,
): Promise<T> {
  const endsAtMs = performance.now() + withinMs;
  let at = 0;
  for (;;) {
    const server = servers[at % servers.length] as GroupServer;
    try {
      return await call(server);
    } catch (error) {
      if (!(error instanceof ConnectError) || error.code !== Code.Unavailable || performance.now() > endsAtMs)
        throw error;
      const primary = infoIn(error)?.["primary"];
      const next = servers.findIndex(({ url }) => url === primary);
      at = next >= 0 ? next : at + 1;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
