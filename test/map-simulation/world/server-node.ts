import type { Transport } from "@connectrpc/connect";
import type { UniversalHandlerFn } from "@connectrpc/connect/protocol";
import { asyncDispose } from "../../../src/lib/dispose.js";
import type { ConfigInput } from "../../../src/server/config/config.js";
import type { Logger } from "../../../src/server/context.js";
import type { Engine, KeyStore } from "../../../src/server/engine.js";
import type { Server } from "../../../src/server/server.js";
import { type Handlers, requestOverNetwork } from "./http-call.js";
import type { Machine } from "./machine.js";
import type { Channel, Network } from "./network.js";
import type { Realm } from "./realm.js";
import { RemoteKeys } from "./remote-keys.js";

/** How long a call of an engine may take before it fails, in milliseconds. */
const ENGINE_TIMEOUT_MS = 3000;

/** The name of the engine that elects, in the configuration. */
export const ELECTION_ENGINE = "shared";

/** The parts of a simulated server that outlive its processes. */
export interface ServerNodeOptions {
  url: string;
  machine: Machine;
  realm: Realm;
  network: Network;
  /** Finds the server at a URL. */
  serverAt: (url: string) => ServerNode | undefined;
  /** Creates an empty store. */
  createStore: () => Engine;
  /** The engine that elects, which is on a machine of its own. */
  electing: { engine: Engine; machine: Machine };
  log: (line: string) => void;
}

/** A machine with a store, on which server processes run one after the other. */
export class ServerNode {
  readonly options: ServerNodeOptions;
  /** The data, which survives the process as on a disk with synchronous writes. */
  store: Engine;
  handlers: Handlers | undefined;
  #server: Server | undefined;

  constructor(options: ServerNodeOptions) {
    this.options = options;
    this.store = options.createStore();
  }

  get name(): string {
    return this.options.machine.name;
  }

  get machine(): Machine {
    return this.options.machine;
  }

  start(config: ConfigInput): void {
    const { machine, realm, log } = this.options;
    const { program } = realm;
    machine.start();
    realm.machine = machine;
    const server = program.createServer({
      engine: this.#localEngine(),
      electionEngine: this.#electionEngine(),
      config,
      log: logger((line) => log(`${machine.name}: ${line}`)),
      platform: { dial: (url) => this.#dial(url) },
    });
    const router = program.createConnectRouter({ ...server.options, connect: true });
    server.routes(router);
    this.handlers = new Map(
      router.handlers.map((handler): [string, UniversalHandlerFn] => [handler.requestPath, handler]),
    );
    this.#server = server;
  }

  /** Ends the process, as SIGKILL does. */
  kill(): void {
    this.machine.kill();
    this.handlers = undefined;
    this.#server = undefined;
  }

  /** Closes the server, as SIGTERM does: it hands over what it leads. Then its process ends. */
  close(): void {
    const { machine } = this;
    const process = machine.process;
    const server = this.#server;
    server?.drain();
    machine.after(100, () => {
      void server?.close().finally(() => machine.run(process, () => this.kill()));
    });
  }

  /** Deletes the data. The process must have been killed. */
  wipe(): void {
    this.store = this.options.createStore();
  }

  #dial(url: string): Transport {
    const { realm, network, serverAt, machine } = this.options;
    return transportTo(url, { realm, network, serverAt, machine });
  }

  #localEngine(): Engine {
    const { machine, realm } = this.options;
    const process = machine.process;
    const { scheduler } = machine;
    const fail = () => new realm.program.EngineFault("unavailable", "the disk does not answer");
    const keys = new RemoteKeys(this.store.keys, machine, {
      // A write that the process has made before it is killed is not undone.
      toEngine: (run) => void scheduler.after(scheduler.between(0.05, 0.5), run),
      toProcess: (channel, run) => {
        channel.lastMs = Math.max(channel.lastMs, scheduler.nowMs + scheduler.between(0.05, 0.5));
        scheduler.after(channel.lastMs - scheduler.nowMs, () => machine.run(process, run));
      },
      fail,
      timeoutMs: Number.MAX_SAFE_INTEGER,
    });
    return lasting(this.store, keys);
  }

  /** The engine that elects, over the network. A request that was not answered in time may still arrive. */
  #electionEngine(): Engine {
    const { machine, realm, network, electing } = this.options;
    const process = machine.process;
    const up: Channel = { lastMs: 0 };
    const keys = new RemoteKeys(electing.engine.keys, machine, {
      toEngine: (run) => {
        if (process === machine.process) network.send(machine, electing.machine, up, run);
      },
      toProcess: (channel, run) =>
        network.send(electing.machine, machine, channel, () => machine.run(process, run)),
      fail: () => new realm.program.EngineFault("unavailable", "the engine that elects does not answer"),
      timeoutMs: ENGINE_TIMEOUT_MS,
    });
    return { ...lasting(electing.engine, keys), name: ELECTION_ENGINE };
  }
}

interface DialOptions {
  realm: Realm;
  network: Network;
  serverAt: (url: string) => ServerNode | undefined;
  machine: Machine;
}

/** A transport to the server at `url`, for the program of a machine. */
export function transportTo(url: string, { realm, network, serverAt, machine }: DialOptions): Transport {
  const { program } = realm;
  const fail = (reason: string) => new program.ConnectError(reason, program.Code.Unavailable);
  return program.createTransport({
    baseUrl: url,
    useBinaryFormat: true,
    interceptors: [],
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: Number.MAX_SAFE_INTEGER,
    readMaxBytes: 2 ** 31 - 1,
    writeMaxBytes: 2 ** 31 - 1,
    httpClient: async (request) => {
      const server = serverAt(url);
      if (!server) throw fail(`no server has the URL ${url}`);
      const route = {
        network,
        client: machine,
        server: server.machine,
        handlers: () => server.handlers,
        fail,
      };
      return requestOverNetwork(route, request);
    },
  });
}

/** `engine` with other keys. It stays open when its server closes, for the next process. */
const lasting = (engine: Engine, keys: KeyStore): Engine => ({
  ...engine,
  keys,
  close: async () => {},
  [asyncDispose]: async () => {},
});

/** Writes the lines of a server, except those about single calls, of which there are many. */
const logger = (write: (line: string) => void): Logger => {
  const line = (fields: object, message: string) => {
    if (!("reqId" in fields)) write(`${message} ${JSON.stringify(fields, jsonOf)}`);
  };
  return { debug() {}, info: line, warn: line, error: line };
};

const jsonOf = (_: string, value: unknown): unknown =>
  typeof value === "bigint" ? String(value) : value instanceof Error ? value.message : value;
