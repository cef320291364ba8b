import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, test } from "vitest";
import type { Case } from "../../src/conformance/case.js";
import { runCase } from "../../src/conformance/run-case.js";
import { cases } from "../../src/conformance/suite.js";
import { openTarget, type Target } from "../../src/conformance/target.js";
import { type Engine, EngineFault } from "../../src/server/engine.js";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { openCuttableProxy } from "../support/cuttable-proxy.js";
import { conformanceConfig, STORES } from "./config.js";

/** The cases that record the calls of concurrent clients and check their order. */
const histories = cases.filter(({ name }) => /several clients/.test(name));

/** Of so many writes, one fails before it is done, and one after that. */
const EVERY = 9;

/** An engine whose writes fail now and then, before or after they were done. */
function withFaults(engine: Engine): Engine & { faults: number } {
  const away = () => new EngineFault("unavailable", "out of reach for a moment");
  let writes = 0;
  const perhaps = async <T>(write: () => Promise<T>): Promise<T> => {
    const number = ++writes % EVERY;
    if (number === 4 || number === 8) self.faults++;
    if (number === 4) throw away();
    const result = await write();
    if (number === 8) throw away();
    return result;
  };
  const { keys, logs } = engine;
  const self: Engine & { faults: number } = {
    name: engine.name,
    clock: engine.clock,
    faults: 0,
    topics: engine.topics,
    blobs: engine.blobs,
    keys: {
      get: (key) => keys.get(key),
      getMany: (names) => keys.getMany(names),
      commit: (writes) => perhaps(() => keys.commit(writes)),
      list: (prefix, after) => keys.list(prefix, after),
      watch: (prefix, signal) => keys.watch(prefix, signal),
    },
    logs: {
      append: (log, values) => perhaps(() => logs.append(log, values)),
      read: (log, from, options) => logs.read(log, from, options),
      bounds: (log) => logs.bounds(log),
      seek: (log, timestampMs) => logs.seek(log, timestampMs),
      retain: (log, retention) => logs.retain(log, retention),
    },
    close: () => engine.close(),
    [Symbol.asyncDispose]: () => engine.close(),
  };
  return self;
}

const closing: (() => PromiseLike<unknown>)[] = [];
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

/** A server with `engine` on a port, and clients whose transports `dial` creates. Connections can be cut. */
async function openFaultyTarget(
  engine: Engine,
  dial: (url: string) => ReturnType<typeof createNodeTransport>,
): Promise<Target & { cut(): void }> {
  const server = createServer({
    platform: nodePlatform,
    config: conformanceConfig("http://127.0.0.1:9"),
    engine,
  });
  const listening = await listen(server, { port: 0 });
  const net = await openCuttableProxy(listening.port);
  const transport = dial(net.url);
  closing.push(
    () => listening.close(),
    net[Symbol.asyncDispose],
    () => transport.close(),
  );
  const second = async () => {
    const transport = dial(net.url);
    return { transport, close: () => transport.close() };
  };
  return { ...(await openTarget({ transport, stores: STORES, second })), cut: net.cut };
}

/** Runs a case. Fails with the error of the case. */
async function expectPass(one: Case, target: Target): Promise<void> {
  const outcome = await runCase(one, target);
  if (outcome.status === "failed") throw outcome.error;
  assert.equal(outcome.status, "passed");
}

const folder = await mkdtemp(join(tmpdir(), "fairlead-"));
closing.push(() => rm(folder, { recursive: true }));
let count = 0;

const ENGINES: Record<string, () => Promise<Engine>> = {
  memory: async () => memoryEngine(),
  disk: () => openDiskEngine({ folder: join(folder, String(count++)) }),
};

test("there are histories of every primitive that has an order", () => {
  const primitives = new Set(histories.map(({ primitive }) => primitive));
  assert.deepEqual([...primitives].sort(), ["lock", "log", "map", "sequencer", "state"]);
});

for (const [name, open] of Object.entries(ENGINES)) {
  describe.concurrent(`on ${name}`, () => {
    for (const one of histories) {
      test(`${one.primitive}: ${one.name}, while writes fail that may have been done`, async () => {
        const engine = withFaults(await open());
        const target = await openFaultyTarget(engine, (url) => createNodeTransport(url));
        await expectPass(one, target);
        assert(engine.faults >= 2);
      });

      // A reader that follows by the raw client ends with its connection.
      if (/follow/.test(one.name)) continue;
      test(`${one.primitive}: ${one.name}, while connections are cut`, async () => {
        const target = await openFaultyTarget(await open(), (url) => createTunnelTransport(url));
        let cuts = 0;
        const timer = setInterval(() => {
          target.cut();
          if (++cuts === 4) clearInterval(timer);
        }, 30);
        await expectPass(one, target);
        clearInterval(timer);
        assert(cuts > 0);
      });
    }
  });
}
