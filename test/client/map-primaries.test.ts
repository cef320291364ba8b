import assert from "node:assert/strict";
import { Code, ConnectError, createRouterTransport, type Transport } from "@connectrpc/connect";
import { test } from "vitest";
import { WebSocket } from "ws";
import { MapService } from "../../gen/atomix/pb/map/map_pb.js";
import { createClient } from "../../src/client/client.js";
import { createMap } from "../../src/client/map.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { unavailable } from "../../src/server/errors.js";
import { listen } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { createWebTransport } from "../../src/transport/web.js";

const NOWHERE = "http://127.0.0.1:9";

/** A backup and its primary, each on a port. */
async function openPair() {
  const primary = await listen(createServer(), { port: 0 });
  const maps = { "/default": { primary: primary.url } };
  const backup = await listen(createServer({ config: { maps } }), { port: 0 });
  return { primary, backup, close: () => Promise.all([backup.close(), primary.close()]) };
}

/** Node 20 has no WebSocket of its own. */
globalThis.WebSocket ??= WebSocket as unknown as typeof globalThis.WebSocket;

const KINDS: Record<string, (url: string) => Transport> = {
  node: (url) => createNodeTransport(url),
  "node over gRPC": (url) => createNodeTransport(url, { protocol: "grpc" }),
  "node, of several URLs": (url) => createNodeTransport([url, NOWHERE]),
  web: (url) => createWebTransport(url),
  tunnel: (url) => createTunnelTransport(url),
};

for (const [kind, open] of Object.entries(KINDS)) {
  test(`a map follows the primary that a backup names: ${kind}`, async () => {
    const { backup, close } = await openPair();
    const fl = createClient(open(backup.url));
    const map = fl.map<number>("m");
    const version = await map.put("k", 1);
    assert.deepEqual(await map.get("k"), { key: "k", value: 1, version });
    await map.compute("k", (value = 0) => value + 1);
    assert.equal((await map.remove("k"))?.value, 2);
    await fl.close();
    await assert.rejects(map.get("k"), { code: Code.Canceled });
    await close();
  });
}

/** Servers in this process, each with its answers to Put and Get; and the calls that they got. */
function fakes(answers: Record<string, (call: number) => unknown>) {
  const calls: string[] = [];
  const transports = new Map<string, Transport>();
  for (const [name, answer] of Object.entries(answers)) {
    let count = 0;
    const respond = (operation: string) => {
      calls.push(`${name} ${operation}`);
      const result = answer(++count);
      if (result instanceof ConnectError) throw result;
    };
    transports.set(
      `http://${name}`,
      createRouterTransport(({ service }) =>
        service(MapService, {
          get() {
            respond("get");
            return { header: {} };
          },
          put() {
            respond("put");
            return { header: {}, version: 1n };
          },
        }),
      ),
    );
  }
  const at = (url: string) => transports.get(url) as Transport;
  return { calls, at };
}

const moved = (name: string) => unavailable("elsewhere", { facts: { primary: `http://${name}` } });
const lost = () => unavailable("lost");

test("the primary is remembered for each partition, and asked for again when it is lost", async () => {
  let down = false;
  const { calls, at } = fakes({
    a: () => (down ? moved("c") : moved("b")),
    b: () => (down ? lost() : undefined),
    c: () => undefined,
  });
  const map = createMap<number>(at("http://a"), "m", { primaries: at });
  await map.put("k", 1);
  await map.get("k");
  down = true;
  await map.get("k");
  await map.put("k", 2);
  assert.deepEqual(calls.join(), "a put,b put,b get,b get,a get,c get,c put");
});

test("a write whose primary was lost is repeated only if it is conditional", async () => {
  let isLost = false;
  const { calls, at } = fakes({ a: () => moved("b"), b: () => (isLost ? lost() : undefined) });
  const map = createMap<number>(at("http://a"), "m", { primaries: at });
  await map.put("k", 1);
  isLost = true;
  calls.length = 0;
  await assert.rejects(map.put("k", 2), { code: Code.Unavailable });
  assert.deepEqual(calls, ["b put"]);
  isLost = false;
  await map.put("k", 2);
  isLost = true;
  calls.length = 0;
  await assert.rejects(map.put("k", 2, { ifVersion: 1n }), { code: Code.Unavailable });
  assert.ok(calls.filter((call) => call === "b put").length > 1);
});

test("a conflict after a lost attempt fails with the first error, as the attempt may have caused it", async () => {
  let isLost = false;
  const conflict = new ConnectError("conflict", Code.Aborted);
  const { at } = fakes({
    a: () => (isLost ? moved("c") : moved("b")),
    b: () => (isLost ? lost() : undefined),
    c: () => conflict,
  });
  const map = createMap<number>(at("http://a"), "m", { primaries: at });
  await map.put("k", 1);
  isLost = true;
  await assert.rejects(map.put("k", 2, { ifVersion: 1n }), { code: Code.Unavailable });
  await assert.rejects(map.put("k", 2, { ifVersion: 1n }), { code: Code.Aborted });
});

test("servers that name each other are given up", async () => {
  const { calls, at } = fakes({ a: () => moved("b"), b: () => moved("a") });
  const map = createMap<number>(at("http://a"), "m", { primaries: at });
  await assert.rejects(map.put("k", 1), { code: Code.Unavailable });
  assert.ok(calls.length <= 6);
});

test("a transport that can make no other, and no option primaries: the error names the primary", async () => {
  const { at } = fakes({ a: () => moved("b") });
  await assert.rejects(createMap<number>(at("http://a"), "m").get("k"), /elsewhere/);
  const map = createMap<number>(at("http://a"), "m", { primaries: "http://b" as never });
  await assert.rejects(map.get("k"), { message: /primaries must be of type function/ });
});

test("a call that is answered by the name of the primary is sent there without a delay", async () => {
  const { backup, close } = await openPair();
  const startedAtMs = performance.now();
  const fl = createClient(createNodeTransport(backup.url));
  await fl.map("m").get("k");
  assert.ok(
    performance.now() - startedAtMs < 450,
    "the server's delay of 500 ms is for those who ask it again",
  );
  await fl.close();
  await close();
});

test("a token of the client is sent to the primary", async () => {
  const token = "a-token-of-at-least-16-characters";
  const access = { tokens: [{ token, subject: "me", rules: [{ primitive: "map", verbs: ["*"] }] }] };
  const primary = await listen(createServer({ engine: memoryEngine(), config: { access } as never }), {
    port: 0,
  });
  const backup = await listen(
    createServer({ config: { access, maps: { "/default": { primary: primary.url } } } as never }),
    { port: 0 },
  );
  const fl = createClient(createNodeTransport(backup.url), { token });
  assert.equal(await fl.map("m").put("k", 1), 1n);
  await fl.close();
  await Promise.all([backup.close(), primary.close()]);
});
