import type { Transport } from "@connectrpc/connect";
import { afterAll, test } from "vitest";
import type { Case } from "../../src/conformance/case.js";
import { conformance } from "../../src/conformance/suite.js";
import { openTarget, type Target } from "../../src/conformance/target.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer, type Server } from "../../src/server/server.js";
import { createTransportOver } from "../../src/transport/tunnel.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { createSocketPair } from "../../src/tunnel/socket/pair.js";
import { openTestEngine, testEngine } from "../support/test-engine.js";
import { conformanceConfig, openMirror, STORES } from "./config.js";

/** A transport that can be closed. */
export type ClosableTransport = Transport & { close(): Promise<void> };

type Close = () => Promise<unknown>;

/** Runs the suite against servers on ports, over the transports that `dial` creates. */
export function testConformanceOver(dial: (url: string) => ClosableTransport): void {
  testConformance(async (server, opened) => {
    const listening = await listen(server, { port: 0 });
    const transport = dial(listening.url);
    opened.push(
      () => listening.close(),
      () => transport.close(),
    );
    return {
      transport,
      second: async () => {
        const other = dial(listening.url);
        return { transport: other, close: () => other.close() };
      },
      dialIn: (appId) => createTunnelTransport(listening.url, { appId }),
    };
  });
}

/** Runs the suite against servers in this process, without a socket. */
export function testConformanceInProcess(): void {
  testConformance(async (server, opened) => {
    opened.push(() => server.close());
    return {
      transport: server.transport(),
      second: async () => ({ transport: server.transport(), close: async () => {} }),
      dialIn: (appId) =>
        createTransportOver(
          "http://here",
          async () => {
            const { ends } = createSocketPair();
            server.tunnels.accept(ends[0]);
            return ends[1];
          },
          { appId },
        ),
    };
  });
}

type ServerTransports = Pick<Target, "transport" | "second" | "dialIn">;

/**
 * Runs all cases on one server. Each case that lets time pass has a server of its own, and moves its clock. Only the
 * memory engine's clock can be moved: on another engine, cases that do not depend on that wait.
 */
function testConformance(open: (server: Server, opened: Close[]) => Promise<ServerTransports>): void {
  const opened: Close[] = [];
  const mirror = openMirror();
  afterAll(async () => {
    for (const close of opened.reverse()) await close();
    await (await mirror)[Symbol.asyncDispose]();
  });
  const target = async (movable: boolean) => {
    let nowMs = Date.now();
    const config = conformanceConfig((await mirror).url);
    const engine = movable ? memoryEngine({ now: () => nowMs }) : await openTestEngine(config);
    const server = createServer({ platform: nodePlatform, config, ...(engine && { engine }) });
    const passTime = (ms: number) => {
      nowMs += ms;
    };
    return openTarget({ stores: STORES, ...(await open(server, opened)), ...(movable && { passTime }) });
  };
  let shared: Promise<Target> | undefined;
  const movesClock = ({ needs }: Case) =>
    needs.includes("clock") || (needs.includes("time") && testEngine === undefined);
  conformance(test.concurrent, (one) => (movesClock(one) ? target(true) : (shared ??= target(false))));
}
