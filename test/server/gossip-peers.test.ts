import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished, test } from "vitest";
import { type GossipMap, type GossipMapOptions, openGossipMap } from "../../src/index.js";
import { parseConfig } from "../../src/server/config/config.js";
import { checkReferences } from "../../src/server/config/references.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { type MeshServer, openPeerMesh } from "../support/peer-mesh.js";
import { until } from "../support/until.js";

const quick = { antiEntropyMs: 10, flushMs: 1, idleMs: 60_000, memberGraceMs: 100 };

const openOn = ({ transport }: MeshServer, name = "m", options: GossipMapOptions = {}) =>
  openGossipMap<string>(transport, name, { flushMs: 1, ...options });

const contentOf = (map: GossipMap<string>) => JSON.stringify([...map].toSorted());

const areSame = (maps: readonly GossipMap<string>[]) => new Set(maps.map(contentOf)).size === 1;

/** Whom each of the servers dials. */
const TOPOLOGIES: Record<string, Record<string, string[]>> = {
  "a full mesh": { a: ["b", "c"], b: ["a", "c"], c: ["a", "b"] },
  "a ring that is dialled one way": { a: ["b"], b: ["c"], c: ["a"] },
  "a chain": { a: ["b"], b: ["a", "c"], c: ["b"] },
  "one list for all, with the server itself": {
    a: ["a", "b", "c"],
    b: ["a", "b", "c"],
    c: ["a", "b", "c"],
  },
};

for (const [topology, peers] of Object.entries(TOPOLOGIES)) {
  test(`members of three servers agree, and then nothing is sent: ${topology}`, async () => {
    await using mesh = openPeerMesh(quick);
    const servers = Object.entries(peers).map(([name, others]) => mesh.start(name, others));
    const maps = await Promise.all(servers.map((server) => openOn(server)));
    for (let round = 0; round < 10; round++) {
      for (const [n, map] of maps.entries()) {
        for (let i = 0; i < 10; i++) map.set(`k${(i * (n + 3)) % 20}`, `${n} ${round}`);
        map.delete(`k${(round * (n + 1)) % 20}`);
      }
      await sleep(3);
    }
    await Promise.all(maps.map((map) => map.synced()));
    const [first] = maps;
    first?.set("last", "1");
    await until(() => areSame(maps) && maps.every((map) => map.get("last") === "1"));
    await quiet(() => mesh.messages);
    const before = mesh.messages;
    await sleep(300);
    assert.equal(mesh.messages, before, "no message while nothing changes");
    for (const map of maps) await map.close();
  });
}

/** Resolves when `value` has not changed for a while. */
async function quiet(value: () => number): Promise<void> {
  for (let seen = -1; seen !== value(); await sleep(200)) seen = value();
}

test("what both sides of a cut have written is everywhere when it is healed", async () => {
  await using mesh = openPeerMesh(quick);
  const [a, b, c] = [mesh.start("a", ["b", "c"]), mesh.start("b", ["a", "c"]), mesh.start("c", ["a", "b"])];
  const maps = await Promise.all([a, b, c].map((server) => openOn(server)));
  const [ada, bob, cleo] = maps as [GossipMap<string>, GossipMap<string>, GossipMap<string>];
  ada.set("removed", "x");
  ada.set("both", "x");
  await until(() => maps.every((map) => map.size === 2));
  const cuts = ["a>b", "a>c", "b>a", "c>a"].map((way) => way.split(">") as [string, string]);
  for (const way of cuts) mesh.cut(...way);
  await until(() => mesh.streams.every((way) => !way.includes("a")));
  ada.set("both", "of ada");
  ada.set("ada", "1");
  bob.delete("removed");
  bob.set("bob", "1");
  await until(() => cleo.get("bob") === "1");
  await sleep(50);
  assert.deepEqual([bob.has("ada"), ada.has("bob"), ada.has("removed")], [false, false, true]);
  for (const way of cuts) mesh.heal(...way);
  const expected = JSON.stringify([
    ["ada", "1"],
    ["bob", "1"],
    ["both", "of ada"],
  ]);
  await until(() => maps.every((map) => contentOf(map) === expected));
  for (const map of maps) await map.close();
});

test("a server that restarts empty gets all back, and one that joins late gets all", async () => {
  await using mesh = openPeerMesh(quick);
  const a = mesh.start("a", ["b", "c"]);
  const b = mesh.start("b", ["a", "c"]);
  await using ada = await openOn(a);
  const bob = await openOn(b);
  for (let i = 0; i < 1500; i++) ada.set(`k${i}`, String(i));
  ada.delete("k0");
  await until(() => bob.size === 1499);
  await bob.close();
  await mesh.stop("b");
  const restarted = mesh.start("b", ["a", "c"]);
  await using again = await openOn(restarted);
  await until(() => again.size === 1499);
  const late = mesh.start("c", []);
  await using cleo = await openOn(late);
  await until(() => cleo.size === 1499);
  assert.ok(areSame([ada, again, cleo]));
  cleo.set("late", "1");
  await until(() => ada.get("late") === "1" && again.get("late") === "1");
});

test("two servers that list each other use one stream, for as long as either has members", async () => {
  await using mesh = openPeerMesh(quick);
  const [a, b] = [mesh.start("a", ["b"]), mesh.start("b", ["a"])];
  const ada = await openOn(a);
  const bob = await openOn(b);
  ada.set("k", "1");
  await until(() => bob.get("k") === "1" && mesh.streams.length === 1);
  const [way] = mesh.streams;
  // The server whose stream is used loses its members: now the other one has to dial.
  const [dialler, other] = way === "a>b" ? [ada, bob] : [bob, ada];
  await dialler.close();
  await until(() => mesh.streams.length === 1 && mesh.streams[0] !== way);
  other.set("k", "2");
  await using again = await openOn(way === "a>b" ? a : b);
  await until(() => again.get("k") === "2" && mesh.streams.length === 1);
  assert.equal(mesh.streams[0], way, "the server of the lower id dials again");
  await again.close();
  await other.close();
  await until(() => mesh.streams.length === 0);
  await sleep(100);
  assert.deepEqual(mesh.streams, [], "servers do not keep each other's maps open");
});

test("what a member writes just before it leaves reaches a server that dials nobody", async () => {
  await using mesh = openPeerMesh({ ...quick, flushMs: 200 });
  const [a, b] = [mesh.start("a", ["b"]), mesh.start("b", [])];
  await using bob = await openOn(b);
  const ada = await openOn(a);
  ada.set("first", "1");
  await until(() => bob.get("first") === "1");
  ada.set("last", "1");
  await ada.synced();
  await ada.close();
  await until(() => bob.get("last") === "1");
  await until(() => mesh.streams.length === 0);
});

test("tombstones are forgotten on all servers, and no server brings a removed entry back", async () => {
  await using mesh = openPeerMesh({ ...quick, idleMs: 20, tombstoneMs: 100 });
  const servers = [mesh.start("a", ["b", "c"]), mesh.start("b", ["c"]), mesh.start("c", ["a"])];
  const maps = await Promise.all(
    servers.map((server) => openOn(server, "m", { tombstoneMs: 100, antiEntropyMs: 10 })),
  );
  const [ada] = maps;
  ada?.set("kept", "1");
  for (let i = 0; i < 50; i++) ada?.set(`k${i}`, "x");
  await until(() => maps.every((map) => map.size === 51));
  for (const [n, map] of maps.entries()) for (let i = n; i < 50; i += 3) map.delete(`k${i}`);
  await until(() => maps.every((map) => map.size === 1));
  await sleep(500);
  for (const map of maps) assert.deepEqual([...map], [["kept", "1"]]);
  for (const map of maps) await map.close();
});

test("ephemeral entries stay when their server cannot be reached, and go with their member", async () => {
  await using mesh = openPeerMesh(quick);
  const [a, b] = [mesh.start("a", ["b"]), mesh.start("b", [])];
  await using bob = await openOn(b);
  const ada = await openOn(a);
  ada.set("ada", "here", { ephemeral: true });
  await until(() => bob.get("ada") === "here");
  mesh.cut("a", "b");
  await until(() => mesh.streams.length === 0);
  await sleep(500);
  assert.equal(bob.get("ada"), "here", "longer than a member may be away");
  mesh.heal("a", "b");
  await until(() => mesh.streams.length === 1);
  await ada.close();
  await until(() => !bob.has("ada"));
});

test("a peer that is away is logged once, and is dialled again for each of the maps", async () => {
  await using mesh = openPeerMesh(quick);
  const a = mesh.start("a", ["b"]);
  await using one = await openOn(a, "one");
  await using two = await openOn(a, "two");
  one.set("k", "1");
  two.set("k", "2");
  await sleep(400);
  assert.deepEqual(
    a.logged.filter((line) => line.includes("gossip")),
    ["a gossip peer is away"],
  );
  const b = mesh.start("b", []);
  await using first = await openOn(b, "one");
  await using second = await openOn(b, "two");
  await until(() => first.get("k") === "1" && second.get("k") === "2");
  assert.equal(a.logged.filter((line) => line === "a gossip peer is connected").length, 1);
  assert.match((await a.server.metrics(null)).body, /^fairlead_gossip_peer_failures_total [1-9]/m);
});

test("a server that finds itself in its list leaves itself out", async () => {
  await using mesh = openPeerMesh(quick);
  const a = mesh.start("a", ["a"]);
  await using ada = await openOn(a);
  ada.set("k", "1");
  await until(() => a.logged.includes("a gossip peer is this server itself, and is left out"));
  await until(() => mesh.streams.length === 0);
  await using again = await openOn(a, "other");
  await again.synced();
  assert.deepEqual(mesh.streams, []);
});

const TOKEN = "token-of-a-gossip-peer";

/** A server that only lets the bearer of TOKEN have the maps that begin with "shared". Returns its URL. */
async function serveProtected() {
  const rule = { primitive: "gossipMap" as const, store: "shared*", verbs: ["read", "write"] };
  const access = { tokens: [{ token: TOKEN, subject: "peer", rules: [rule] }] };
  const server = createServer({
    engine: memoryEngine(),
    platform: nodePlatform,
    config: { access, gossip: quick },
  });
  const { url, close } = await listen(server, { port: 0 });
  onTestFinished(() => close());
  return { url, transport: server.transport() };
}

function dialWith(peer: { url: string; token?: string; tokenEnv?: string }) {
  const logged: string[] = [];
  const note = (_: object, message: string) => void logged.push(message);
  const server = createServer({
    engine: memoryEngine(),
    platform: { ...nodePlatform, env: { PEER_TOKEN: TOKEN } },
    config: { gossip: { ...quick, peers: [peer] } },
    log: { debug() {}, info: note, warn: note, error: note },
  });
  onTestFinished(() => server.close());
  return { server, transport: server.transport(), logged };
}

test("a peer has the rights of its token, and a map that it may not have stops no other", async () => {
  const far = await serveProtected();
  const near = dialWith({ url: far.url, tokenEnv: "PEER_TOKEN" });
  await using hidden = await openOn(near, "own");
  hidden.set("k", "1");
  const refusal = "a gossip map cannot be synchronized with a peer";
  await until(() => near.logged.includes(refusal));
  await using here = await openOn(near, "shared");
  await using there = await openGossipMap<string>(far.transport, "shared", { flushMs: 1 });
  here.set("k", "1");
  await until(() => there.get("k") === "1");
  there.set("k", "2");
  await until(() => here.get("k") === "2");
  assert.equal(near.logged.filter((line) => line === refusal).length, 1);
});

test("a peer that refuses the token is logged once, whatever the number of maps, and seldom asked", async () => {
  const far = await serveProtected();
  const near = dialWith({ url: far.url, token: "the-token-of-another" });
  await using one = await openOn(near, "shared");
  await using two = await openOn(near, "shared-too");
  await Promise.all([one.synced(), two.synced()]);
  const refusal = "a gossip peer refuses the token of this server";
  await until(() => near.logged.includes(refusal));
  await sleep(500);
  assert.deepEqual(
    near.logged.filter((line) => line.includes("gossip")),
    [refusal],
  );
  const { body } = await near.server.metrics(null);
  assert.match(body, /^fairlead_gossip_peer_failures_total 2$/m, "once for each map");
});

test("the configuration of peers is checked", async () => {
  const wrong = (peers: unknown, message: RegExp) =>
    assert.throws(() => parseConfig({ gossip: { peers } }), { message });
  wrong([{ url: "ftp://b" }], /gossip\.peers\[0\]\.url "ftp:\/\/b": must be an http or https URL/);
  wrong([{ url: "http://b" }, { url: "http://b" }], /peers\[1\]\.url "http:\/\/b": must be another one than/);
  wrong(
    [{ url: "http://b", token: TOKEN, tokenEnv: "T" }],
    /peers\[0\]: must have token or tokenEnv, not both/,
  );
  wrong(["http://b"], /gossip\.peers\[0\] "http:\/\/b": must be an object/);
  const config = parseConfig({ gossip: { peers: [{ url: "http://b", tokenEnv: "PEER_TOKEN" }] } });
  const { problems } = await checkReferences(config, { env: {}, readFile: async () => "" });
  assert.match(problems[0]?.message ?? "", /gossip\.peers\[0\]\.tokenEnv "PEER_TOKEN": .* is not set/);
});
