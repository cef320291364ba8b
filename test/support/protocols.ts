import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Transport } from "@connectrpc/connect";
import { describe } from "vitest";
import { parseConfig } from "../../src/server/config/config.js";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer, type Server, type ServerOptions } from "../../src/server/server.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { createGrpcWebTransport, createWebTransport } from "../../src/web.js";

/** A server of the test's own and a way to it. */
export interface Opened extends AsyncDisposable {
  transport: Transport;
  server: Server;
  /** Where it listens; "" in this process. */
  url: string;
}

export type Open = (options?: ServerOptions) => Promise<Opened>;

/** What a door lets through: `upload` is a stream from the client, `duplex` one both ways at the same time. */
type Need = "unary" | "download" | "upload" | "duplex";

interface Door {
  name: string;
  lets: readonly Need[];
  open: Open;
}

const ALL = ["unary", "download", "upload", "duplex"] as const;
const FETCH = ["unary", "download"] as const;

/** Every way to reach the server that Node has. */
const doors: Door[] = [
  { name: "in process", lets: ALL, open: openHere },
  { name: "Connect over HTTP/2", lets: ALL, open: overHttp((url) => createNodeTransport(url)) },
  { name: "gRPC", lets: ALL, open: overHttp((url) => createNodeTransport(url, { protocol: "grpc" })) },
  {
    name: "gRPC-Web",
    lets: ALL,
    open: overHttp((url) => createNodeTransport(url, { protocol: "grpc-web" })),
  },
  {
    name: "Connect JSON over HTTP/1.1",
    lets: ["unary", "download", "upload"],
    open: overHttp((url) => createNodeTransport(url, { httpVersion: "1.1", json: true })),
  },
  { name: "the tunnel", lets: ALL, open: overHttp((url) => createTunnelTransport(url)) },
  { name: "Connect over fetch", lets: FETCH, open: overHttp((url) => createWebTransport(url)) },
  {
    name: "gRPC-Web over fetch",
    lets: FETCH,
    open: overHttp((url) => createGrpcWebTransport(url)),
  },
];

/** Runs `suite` once for each door that lets through what it needs. */
export function throughEveryDoor(need: Need, suite: (open: Open) => void): void {
  // What an engine does is the same through every door.
  const open = onDisk ? doors.slice(0, 1) : doors;
  for (const door of open.filter(({ lets }) => lets.includes(need))) {
    describe(door.name, () => suite(door.open));
  }
}

/** Whether the servers are to keep their data on disk: `npm run test:disk`. */
const onDisk = process.env["TEST_ENGINE"] === "disk";

/** A server on the engine that this run is about, unless the test gives one. */
async function serverOn(options: ServerOptions = {}): Promise<Server> {
  if (!onDisk || options.engine) return createServer({ platform: nodePlatform, ...options });
  const folder = await mkdtemp(join(tmpdir(), "fairlead-"));
  const { engines } = parseConfig(options.config);
  const engine = await openDiskEngine({ folder, ...engines.disk });
  const close = async () => {
    await engine.close();
    await rm(folder, { recursive: true, force: true });
  };
  return createServer({ platform: nodePlatform, ...options, engine: { ...engine, close } });
}

/** A server in this process, without a socket: for what does not depend on the way. */
export async function openHere(options?: ServerOptions): Promise<Opened> {
  const server = await serverOn(options);
  return { transport: server.transport(), server, url: "", [Symbol.asyncDispose]: server.close };
}

/** A server on a port of its own, called through what `dial` makes. */
export function overHttp(dial: (url: string) => Transport & Partial<AsyncDisposable>): Open {
  return async (options) => {
    const server = await serverOn(options);
    const listening = await listen(server, { port: 0 });
    const transport = dial(listening.url);
    const dispose = async () => {
      await transport[Symbol.asyncDispose]?.();
      await listening.close();
    };
    return { transport, server, url: listening.url, [Symbol.asyncDispose]: dispose };
  };
}
