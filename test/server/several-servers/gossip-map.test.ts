import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { type GossipMap, openGossipMap } from "../../../src/index.js";
import type { Change, Engine, KeyStore } from "../../../src/server/engine.js";
import { memoryEngine } from "../../../src/server/engines/memory.js";
import { advertises, rawMember, updates } from "../../support/raw-member.js";
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

/** The changes of the entry at `key` in the engine from now on, in an array that grows until the engine closes. */
function watchEntry(engine: Engine, key: string): Change["type"][] {
  const types: Change["type"][] = [];
  const follow = async () => {
    for await (const change of engine.keys.watch("gossip\0", new AbortController().signal)) {
      const changed = change.type === "set" ? change.entry.key : change.key;
      if (changed.endsWith(`\0${key}`)) types.push(change.type);
    }
  };
  void follow();
  return types;
}

/** Lets nothing pass while it is closed. */
function createGate() {
  let opened = Promise.resolve();
  let open = () => {};
  let isAwaited = false;
  return {
    get isAwaited() {
      return isAwaited;
    },
    close() {
      opened = new Promise((resolve) => {
        open = resolve;
      });
    },
    open: () => open(),
    async pass() {
      isAwaited = true;
      await opened;
      isAwaited = false;
    },
  };
}

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
  // It neither confirms the tombstone nor advertises, until the servers have renewed it several times.
  await sleep(600);
  stale.advertise({ k: 1, kept: 1 });
  await sleep(100);
  assert.equal(ada.has("k"), false);
  stale.update({ k: [OLD, 1] });
  await sleep(100);
  assert.deepEqual([ada.has("k"), ada.get("kept")], [false, "kept"]);
  // The first server may have removed it, as this time is short. Then the second one has written it again.
  await until(async () => (await stored(at)).includes("k"));
  // When the last member that lacked it has left, it is forgotten everywhere.
  await stale[Symbol.asyncDispose]();
  await until(async () => (await stored(at)).join() === "kept");
});

test("a tombstone that a member of another server lacks stays, and is removed when that one has left", async () => {
  let nowMs = Date.now();
  const engine = memoryEngine({ now: () => nowMs });
  const tombstoneMs = 60_000;
  await using at = await openSeveral({ count: 2, engine, config: { gossip: { ...quick, tombstoneMs } } });
  await using ada = await openOn(at.servers[0]);
  await using stale = rawMember(at.servers[1]?.transport ?? assert.fail(), "m");
  stale.update({ k: [OLD, 1] });
  stale.advertise({ k: 1 });
  await until(() => ada.has("k"));
  const changes = watchEntry(engine, "k");
  ada.delete("k");
  // Both servers count the age of the tombstone from when they have it.
  await ada.synced();
  await stale.until(updates("k"));
  for (let round = 1; round <= 3; round++) {
    nowMs += tombstoneMs;
    await until(() => changes.length > round);
    // When the first server has this, it knows that the second one has renewed the tombstone.
    stale.update({ [`after ${round}`]: ['"x"', 1] });
    await until(() => ada.has(`after ${round}`));
  }
  assert.deepEqual(changes, ["set", "set", "set", "set"]);
  await stale[Symbol.asyncDispose]();
  nowMs += 2 * tombstoneMs;
  await until(() => changes.at(-1) === "delete");
  assert.equal(ada.has("k"), false);
});

test("a key that is set again while its tombstone is about to be removed stays", async () => {
  let nowMs = Date.now();
  const memory = memoryEngine({ now: () => nowMs });
  const gate = createGate();
  const { keys } = memory;
  const gatedKeys: KeyStore = {
    get: (key) => keys.get(key),
    getMany: (all) => keys.getMany(all),
    list: (prefix, after) => keys.list(prefix, after),
    watch: (prefix, signal) => keys.watch(prefix, signal),
    commit: async (writes) => {
      await gate.pass();
      return keys.commit(writes);
    },
  };
  const engine = { ...memory, keys: gatedKeys };
  const tombstoneMs = 60_000;
  await using at = await openSeveral({ count: 1, engine, config: { gossip: { ...quick, tombstoneMs } } });
  const changes = watchEntry(memory, "k");
  const transport = at.servers[0]?.transport ?? assert.fail();
  await using ada = rawMember(transport, "m");
  await using bob = rawMember(transport, "m");
  for (const [name, member] of Object.entries({ ada, bob })) {
    const written = watchEntry(memory, name);
    member.advertise({});
    member.update({ k: [null, 1] });
    // The server handles the messages of a member in order: when it has stored this one, it knows that both have k.
    member.update({ [name]: ['"here"', 1] });
    await until(() => written.length > 0);
  }
  assert.deepEqual(changes, ["set"]);
  // Writes run one after the other. The tombstone becomes old while these two wait, so its removal would come next.
  gate.close();
  ada.update({ first: ['"1"', 1] });
  await until(() => gate.isAwaited);
  bob.update({ k: ['"2"', 2] });
  await sleep(50);
  nowMs += 2 * tombstoneMs;
  await sleep(50);
  gate.open();
  const last = watchEntry(memory, "last");
  bob.update({ last: ['"1"', 1] });
  await until(() => last.length > 0);
  assert.equal(changes.at(-1), "set");
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
