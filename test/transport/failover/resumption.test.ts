import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer as createTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, test } from "vitest";
import { WebSocket } from "ws";
import { createClient, type Fairlead } from "../../../src/index.js";
import { sleep } from "../../../src/rpc/sleep.js";
import { until } from "../../support/until.js";
import { buildServerProgram, type ServerProcess, startServer } from "./server-process.js";
import { TRANSPORTS } from "./transports.js";

// Node 20 has no WebSocket; that of `ws` has the same interface.
const own = globalThis.WebSocket;
let removeProgram: () => Promise<void>;
beforeAll(async () => {
  globalThis.WebSocket = WebSocket as unknown as typeof globalThis.WebSocket;
  removeProgram = await buildServerProgram();
});
afterAll(async () => {
  globalThis.WebSocket = own;
  await removeProgram();
});

/** A port that nothing listens on. */
async function freePort(): Promise<number> {
  const server = createTcp();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Appends until `signal` aborts; returns the offsets that were acknowledged, with their values. */
async function append(fl: Fairlead, signal: AbortSignal): Promise<Map<bigint, number>> {
  const acknowledged = new Map<bigint, number>();
  const log = fl.log<number>("journal");
  for (let value = 1; !signal.aborted; value++) {
    try {
      const { firstOffset } = await log.append(value);
      if (firstOffset !== undefined) acknowledged.set(firstOffset, value);
    } catch (error) {
      // An append whose answer was lost may have happened, so it is not repeated.
      assert.equal(ConnectError.from(error).code, Code.Unavailable);
    }
    await sleep(2);
  }
  return acknowledged;
}

/** Publishes until `signal` aborts; returns what was acknowledged. */
async function publish(fl: Fairlead, signal: AbortSignal): Promise<number[]> {
  const acknowledged: number[] = [];
  for (let value = 1; !signal.aborted; value++) {
    try {
      await fl.pubsub().publish("orders", value);
      acknowledged.push(value);
    } catch (error) {
      assert.equal(ConnectError.from(error).code, Code.Unavailable);
    }
    await sleep(2);
  }
  return acknowledged;
}

/** Runs `use` with a client of two addresses. The server at the one is lost; then it is back at the other. */
async function acrossServers(
  name: string,
  how: "kill" | "drain",
  use: (fl: Fairlead, move: () => Promise<string>) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "fairlead-"));
  const port = await freePort();
  const servers: ServerProcess[] = [await startServer({ folder })];
  const [first] = servers as [ServerProcess];
  const transport = TRANSPORTS[name]?.([first.url, `http://127.0.0.1:${port}`]);
  assert.ok(transport);
  const fl = createClient(transport);
  try {
    await use(fl, async () => {
      await first[how]();
      const second = await startServer({ folder, port });
      servers.push(second);
      return second.url;
    });
  } finally {
    await fl.close();
    await Promise.all(servers.map((server) => server.kill()));
    await rm(folder, { recursive: true, force: true });
  }
}

for (const name of ["Connect over HTTP/2", "Connect over fetch", "the tunnel"]) {
  for (const how of ["kill", "drain"] as const) {
    describe(`${name}, ${how}`, () => {
      test(
        "a reader of a log gets every record once and in order, on the other server too",
        () =>
          acrossServers(name, how, async (fl, move) => {
            const enough = new AbortController();
            const appending = append(fl, enough.signal);
            const read = new Map<bigint, number>();
            const offsets: bigint[] = [];
            const reader = fl.log<number>("journal").read();
            const reading = (async () => {
              for await (const { offset, value } of reader) {
                offsets.push(offset);
                read.set(offset, value);
              }
            })();
            await until(() => offsets.length >= 50);
            await move();
            const before = offsets.length;
            await until(() => offsets.length >= before + 50);
            enough.abort();
            const acknowledged = await appending;
            await until(() => [...acknowledged.keys()].every((offset) => read.has(offset)));
            await reader.return();
            await reading;
            assert.deepEqual(
              offsets,
              offsets.map((_, i) => BigInt(i + 1)),
            );
            for (const [offset, value] of acknowledged) assert.equal(read.get(offset), value);
          }),
        60_000,
      );

      test(
        "a subscription gets every acknowledged event",
        () =>
          acrossServers(name, how, async (fl, move) => {
            const enough = new AbortController();
            const got = new Set<number>();
            const subscription = fl.pubsub().subscribe<number>("orders", { group: "books" });
            const reading = (async () => {
              for await (const { data } of subscription) got.add(data as number);
            })();
            await until(() => subscription.status.current === "connected");
            const publishing = publish(fl, enough.signal);
            await until(() => got.size >= 20);
            await move();
            const before = got.size;
            await until(() => got.size >= before + 20);
            enough.abort();
            const acknowledged = await publishing;
            await until(() => acknowledged.every((value) => got.has(value)));
            await subscription.return();
            await reading;
          }),
        60_000,
      );

      test(
        "an open configuration, a gossip map and a held lock go on with the other server",
        () =>
          acrossServers(name, how, async (fl, move) => {
            const store = fl.configuration();
            await store.save({ theme: "light" });
            const settings = await store.open({ keys: ["theme"] });
            const map = await fl.openGossipMap<string>("presence");
            map.set("ada", "before");
            await map.synced();
            const lock = await fl.lock().acquire("report", { ttlMs: 8000 });
            const acquiredMs = performance.now();
            // Another client makes these changes, maybe before this one is connected again.
            const other = createClient(await move());
            await other.configuration().save({ theme: "dark" });
            await until(() => settings.current["theme"] === "dark");
            map.set("bob", "after");
            await map.synced();
            const copy = await other.openGossipMap<string>("presence");
            await until(() => copy.get("bob") === "after" && copy.get("ada") === "before");
            // Past the first lease: it was renewed at the other server.
            await until(() => performance.now() - acquiredMs > 8500);
            assert.equal(lock.signal.aborted, false);
            assert.equal(await other.lock().tryAcquire("report"), undefined);
            assert.equal(await lock.release(), true);
            await copy.close();
            await map.close();
            await settings.close();
            await other.close();
          }),
        60_000,
      );
    });
  }
}
