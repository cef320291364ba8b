import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { type GossipMap, openGossipMap } from "../../../src/index.js";
import { advertises, rawMember } from "../../support/raw-member.js";
import { type OneOfSeveral, openSeveral, type SeveralServers } from "../../support/several-servers.js";
import { until } from "../../support/until.js";

const quick = { tombstoneMs: 100, antiEntropyMs: 10, flushMs: 1, idleMs: 20 };

const openOn = (server: OneOfSeveral | undefined, options = {}) =>
  openGossipMap<string>(server?.transport ?? assert.fail(), "m", { flushMs: 1, ...options });

/** The keys of all gossip maps that are stored, including removed ones. */
const stored = async ({ engine }: SeveralServers) => {
  const keys: string[] = [];
  for await (const { key } of engine.keys.list("gossip\0")) keys.push(key.split("\0")[3] ?? "");
  return keys;
};

const [OLD, KEPT] = ['"old"', '"kept"'];

const isSame = (maps: GossipMap<string>[]) => new Set(maps.map((map) => JSON.stringify([...map]))).size === 1;

test("members of several servers that write and remove the same keys agree, and so does a late one", async () => {
  await using at = await openSeveral({ config: { gossip: { flushMs: 1 } } });
  const maps = await Promise.all(at.servers.map((server) => openOn(server)));
  for (let round = 0; round < 15; round++) {
    for (const [n, map] of maps.entries()) {
      for (let i = 0; i < 10; i++) map.set(`k${(i * (n + 3)) % 20}`, `${n} ${round}`);
      map.delete(`k${(round * (n + 1)) % 20}`);
    }
    await sleep(3);
  }
  await Promise.all(maps.map((map) => map.synced()));
  await until(() => isSame(maps));
  await using late = await openOn(await at.add());
  assert.deepEqual([...late], [...(maps[0] ?? [])]);
  for (const map of maps) await map.close();
});

test("a change reaches the members of other servers soon after the flush interval", async () => {
  await using at = await openSeveral({ config: { gossip: { flushMs: 20 } } });
  await using ada = await openOn(at.servers[0]);
  await using bob = await openOn(at.servers[2]);
  const tookMs: number[] = [];
  for (let i = 0; i < 20; i++) {
    const startMs = performance.now();
    ada.set("k", String(i));
    await until(() => bob.get("k") === String(i));
    tookMs.push(performance.now() - startMs);
  }
  // The flush of the server and the delays of the engine in this test, and the turns of a busy machine.
  const median = tookMs.toSorted((a, b) => a - b)[10] ?? 0;
  assert.ok(median < 100, `${tookMs}`);
});

test("a removed entry does not come back by a member of another server that had not heard of the removal", async () => {
  await using at = await openSeveral({ count: 2, config: { gossip: quick } });
  await using ada = await openOn(at.servers[0], { tombstoneMs: 100 });
  await using stale = rawMember(at.servers[1]?.transport ?? assert.fail(), "m");
  stale.update({ k: [OLD, 1], kept: [KEPT, 1] });
  stale.advertise({ k: 1, kept: 1 });
  await stale.until(advertises);
  await until(() => ada.get("k") === "old" && ada.get("kept") === "kept");
  ada.delete("k");
  await ada.synced();
  // It neither confirms the tombstone nor advertises, until the first server would have forgotten it several times.
  await sleep(600);
  stale.advertise({ k: 1, kept: 1 });
  await sleep(100);
  assert.equal(ada.has("k"), false);
  stale.update({ k: [OLD, 1] });
  await sleep(100);
  assert.deepEqual([ada.has("k"), ada.get("kept")], [false, "kept"]);
  assert.ok((await stored(at)).includes("k"), "the tombstone is stored while a member lacks it");
  // When the last member that lacked it has left, it is forgotten everywhere.
  await stale[Symbol.asyncDispose]();
  await until(async () => (await stored(at)).join() === "kept");
});

test("tombstones are forgotten on all servers when all members have them", async () => {
  await using at = await openSeveral({ config: { gossip: quick } });
  const maps = await Promise.all(
    at.servers.map((server) => openOn(server, { tombstoneMs: 100, antiEntropyMs: 10 })),
  );
  const [ada] = maps;
  ada?.set("kept", "1");
  for (let i = 0; i < 150; i++) ada?.set(`k${i}`, "x");
  await ada?.synced();
  await until(() => maps.every((map) => map.size === 151));
  for (const [i, map] of maps.entries()) for (let k = i; k < 150; k += 3) map.delete(`k${k}`);
  await until(async () => (await stored(at)).length === 1);
  await sleep(300);
  assert.deepEqual(await stored(at), ["kept"], "and no server brings one back");
  for (const map of maps) {
    assert.deepEqual([...map], [["kept", "1"]]);
    await map.close();
  }
});

test("the limit of maps holds for all servers together, and a map that another server has emptied makes room", async () => {
  const config = { gossip: quick, limits: { gossipMaps: 3 } };
  await using at = await openSeveral({ count: 2, config });
  const [one, two] = at.servers.map(({ transport }) => transport);
  const openMap = (transport: typeof one, name: string) =>
    openGossipMap<string>(transport ?? assert.fail(), name, {
      flushMs: 1,
      tombstoneMs: 100,
      timeoutMs: 2000,
    });
  /** What happens when the map is opened, and closed again. */
  const outcome = (transport: typeof one, name: string) =>
    openMap(transport, name)
      .then((map) => map.close())
      .then(
        () => "opened",
        (error: unknown) => ConnectError.from(error).rawMessage,
      );
  // Both servers know the maps before the others are created.
  for (const transport of [one, two]) await (await openMap(transport, "first")).close();
  for (const name of ["a", "b", "c"]) {
    await using map = await openMap(one, name);
    map.set("k", "v");
    await map.synced();
  }
  await until(async () => /limit gossipMaps 3/.test(await outcome(two, "d")));
  await using a = await openMap(one, "a");
  a.delete("k");
  await a.synced();
  await a.close();
  await until(async () => (await outcome(two, "d")) === "opened");
});

test("if a server closes, its members go on at another one, with all that was confirmed", async () => {
  await using at = await openSeveral({ count: 2, config: { gossip: quick } });
  const [one, two] = at.servers;
  const ada = await openOn(one);
  for (let i = 0; i < 20; i++) ada.set(`k${i}`, String(i));
  await ada.synced();
  await one?.close();
  await using bob = await openOn(two);
  assert.equal(bob.size, 20);
  await ada.close();
});
