import type { Transport } from "@connectrpc/connect";
import { asyncDispose } from "../../src/lib/dispose.js";
import type { ConfigInput } from "../../src/server/config/config.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { nodePlatform } from "../../src/server/node.js";
import { createServer, type Server } from "../../src/server/server.js";
import { type SwitchedTransport, switchedTransport } from "./switched-transport.js";

/** A server with an engine of its own. */
export interface MeshServer {
  readonly server: Server;
  readonly transport: Transport;
  /** Its warnings and messages so far. */
  readonly logged: string[];
}

/** Servers in this process that gossip with one another, by name. */
export interface PeerMesh extends AsyncDisposable {
  /** Starts a server, or starts it again with an empty engine. `peers`: the names of those that it dials. */
  start(name: string, peers: readonly string[]): MeshServer;
  stop(name: string): Promise<void>;
  /** Cuts or heals what `from` has dialled, or would dial, at `to`. */
  cut(from: string, to: string): void;
  heal(from: string, to: string): void;
  /** The streams that are open, as "a>b", in order. */
  readonly streams: readonly string[];
  /** The messages that servers have sent each other. */
  readonly messages: number;
}

export function openPeerMesh(gossip: NonNullable<ConfigInput["gossip"]> = {}): PeerMesh {
  const servers = new Map<string, MeshServer>();
  const switches = new Map<string, SwitchedTransport>();
  const open = new Set<{ way: string }>();
  let messages = 0;
  async function* counted<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
    for await (const item of items) {
      messages++;
      yield item as T;
    }
  }
  const observed = (transport: Transport, way: string): Transport => ({
    unary: (...args) => transport.unary(...args),
    async stream(method, signal, timeoutMs, header, input, ...rest) {
      const response = await transport.stream(method, signal, timeoutMs, header, counted(input), ...rest);
      const opened = { way };
      if (!signal?.aborted) open.add(opened);
      // Who calls aborts the signal at the end of each stream.
      signal?.addEventListener("abort", () => open.delete(opened));
      return { ...response, message: counted(response.message) };
    },
  });
  const wire = (from: string, to: string): SwitchedTransport => {
    const way = `${from}>${to}`;
    const present = switches.get(way);
    if (present) return present;
    const target: Transport = {
      unary: (...args) => find(to).unary(...args),
      stream: async (...args) => find(to).stream(...args),
    };
    const made = switchedTransport(observed(target, way));
    switches.set(way, made);
    return made;
  };
  const find = (name: string): Transport => {
    const server = servers.get(name);
    if (!server) throw new Error(`the server ${name} is not there`);
    return server.transport;
  };
  const mesh: PeerMesh = {
    start(name, peers) {
      const logged: string[] = [];
      const note = (_: object, message: string) => void logged.push(message);
      const dial = (url: string) => wire(name, new URL(url).hostname);
      const server = createServer({
        engine: memoryEngine(),
        platform: { ...nodePlatform, dial },
        config: { gossip: { ...gossip, peers: peers.map((peer) => ({ url: `http://${peer}` })) } },
        log: { debug() {}, info: note, warn: note, error: note },
      });
      const one = { server, transport: server.transport(), logged };
      servers.set(name, one);
      return one;
    },
    async stop(name) {
      const one = servers.get(name);
      servers.delete(name);
      await one?.server.close();
    },
    cut: (from, to) => wire(from, to).off(),
    heal: (from, to) => wire(from, to).on(),
    get streams() {
      return [...open].map(({ way }) => way).toSorted();
    },
    get messages() {
      return messages;
    },
    async [asyncDispose]() {
      await Promise.all([...servers.keys()].map((name) => mesh.stop(name)));
    },
  };
  return mesh;
}
