import type { Transport } from "@connectrpc/connect";
import { describe } from "vitest";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer, type Server, type ServerOptions } from "../../src/server/server.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { createGrpcWebTransport, createWebTransport } from "../../src/web.js";
import { openTestEngine, testEngine } from "./test-engine.js";

/** A server for one test, and a transport to it. */
export interface TestServer extends AsyncDisposable {
  transport: Transport;
  server: Server;
  /** The URL that it listens at; "" in this process. */
  url: string;
}

export type OpenServer = (options?: ServerOptions) => Promise<TestServer>;

/** A kind of call. `upload` is a stream from the client, `duplex` one in both directions at the same time. */
type CallKind = "unary" | "download" | "upload" | "duplex";

interface Protocol {
  name: string;
  supports: readonly CallKind[];
  open: OpenServer;
}

const ALL = ["unary", "download", "upload", "duplex"] as const;
const FETCH = ["unary", "download"] as const;

/** Every protocol and transport to the server on Node. */
const PROTOCOLS: Protocol[] = [
  { name: "in process", supports: ALL, open: openInProcess },
  { name: "Connect over HTTP/2", supports: ALL, open: overHttp((url) => createNodeTransport(url)) },
  { name: "gRPC", supports: ALL, open: overHttp((url) => createNodeTransport(url, { protocol: "grpc" })) },
  {
    name: "gRPC-Web",
    supports: ALL,
    open: overHttp((url) => createNodeTransport(url, { protocol: "grpc-web" })),
  },
  {
    name: "Connect JSON over HTTP/1.1",
    supports: ["unary", "download", "upload"],
    open: overHttp((url) => createNodeTransport(url, { httpVersion: "1.1", json: true })),
  },
  { name: "the tunnel", supports: ALL, open: overHttp((url) => createTunnelTransport(url)) },
  { name: "Connect over fetch", supports: FETCH, open: overHttp((url) => createWebTransport(url)) },
  {
    name: "gRPC-Web over fetch",
    supports: FETCH,
    open: overHttp((url) => createGrpcWebTransport(url)),
  },
];

/** Runs `suite` once over each protocol that supports `kind`. */
export function forEachProtocol(kind: CallKind, suite: (open: OpenServer) => void): void {
  // The engine behaves the same over every protocol.
  const tested = testEngine ? PROTOCOLS.slice(0, 1) : PROTOCOLS;
  for (const { name, open } of tested.filter(({ supports }) => supports.includes(kind))) {
    describe(name, () => suite(open));
  }
}

/** A server on the engine of this run, unless the test passes one. */
async function serverOn(options: ServerOptions = {}): Promise<Server> {
  const engine = options.engine ?? (await openTestEngine(options.config));
  return createServer({ platform: nodePlatform, ...options, ...(engine && { engine }) });
}

/** Opens a server in this process, without a socket: for tests that do not depend on the protocol. */
export async function openInProcess(options?: ServerOptions): Promise<TestServer> {
  const server = await serverOn(options);
  return { transport: server.transport(), server, url: "", [Symbol.asyncDispose]: server.close };
}

/** Opens servers on ports of their own, called through the transport of `dial`. */
export function overHttp(dial: (url: string) => Transport & Partial<AsyncDisposable>): OpenServer {
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
