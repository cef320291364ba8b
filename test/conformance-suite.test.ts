import { afterAll, describe, test } from "vitest";
import type { Case } from "../src/conformance/case.js";
import { conformance } from "../src/conformance/suite.js";
import { openTarget, type Target } from "../src/conformance/target.js";
import { memoryEngine } from "../src/server/engines/memory.js";
import { listen, nodePlatform } from "../src/server/listen.js";
import { createServer, type Server } from "../src/server/server.js";
import { createNodeTransport } from "../src/transport/node.js";
import { createTunnelTransport } from "../src/transport/tunnel-node.js";
import { conformanceConfig, openMirror, STORES } from "./conformance-config.js";

type Way = { transport: Target["transport"]; close(): Promise<void> };

/** The ways to a server, each by the URL that it listens at. */
const WAYS: Record<string, (url: string) => Way> = {
  Connect: (url) => way(createNodeTransport(url)),
  gRPC: (url) => way(createNodeTransport(url, { protocol: "grpc" })),
  "gRPC-Web": (url) => way(createNodeTransport(url, { protocol: "grpc-web" })),
  "the tunnel": (url) => way(createTunnelTransport(url)),
};

const way = (transport: Target["transport"] & { close(): Promise<void> }): Way => ({
  transport,
  close: () => transport.close(),
});

const mirror = await openMirror();

const opened: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const close of opened.reverse()) await close();
  await mirror[Symbol.asyncDispose]();
});

/** Cases that let time pass have a server of their own, whose clock they move. */
const ownClock = (one: Case) => one.needs.includes("time") || one.needs.includes("clock");

function newServer(now?: () => number): Server {
  return createServer({
    platform: nodePlatform,
    config: conformanceConfig(mirror.url),
    ...(now && { engine: memoryEngine({ now }) }),
  });
}

/** A server on a port, judged over what `dial` makes. */
async function overHttp(dial: (url: string) => Way, movable: boolean): Promise<Target> {
  let nowMs = Date.now();
  const server = newServer(movable ? () => nowMs : undefined);
  const listening = await listen(server, { port: 0 });
  const { transport, close } = dial(listening.url);
  opened.push(() => listening.close(), close);
  return openTarget({
    transport,
    stores: STORES,
    second: async () => dial(listening.url),
    dialIn: (appId) => createTunnelTransport(listening.url, { appId }),
    ...(movable && { passTime: (ms) => void (nowMs += ms) }),
  });
}

/** A server in this process, without a socket. */
async function here(movable: boolean): Promise<Target> {
  let nowMs = Date.now();
  const server = newServer(movable ? () => nowMs : undefined);
  opened.push(() => server.close());
  return openTarget({
    transport: server.transport(),
    stores: STORES,
    second: async () => ({ transport: server.transport(), close: async () => {} }),
    ...(movable && { passTime: (ms) => void (nowMs += ms) }),
  });
}

/** One server for all, but for those that move its clock. */
function each(open: (movable: boolean) => Promise<Target>): (one: Case) => Promise<Target> {
  let shared: Promise<Target> | undefined;
  return (one) => (ownClock(one) ? open(true) : (shared ??= open(false)));
}

describe("in process", () => conformance(test.concurrent, each(here)));

for (const [name, dial] of Object.entries(WAYS)) {
  describe(name, () =>
    conformance(
      test.concurrent,
      each((movable) => overHttp(dial, movable)),
    ),
  );
}
