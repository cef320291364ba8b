import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, test } from "vitest";
import { GossipMapService } from "../../gen/atomix/map/map_pb.js";
import { joinGossipMap } from "../../src/client/gossip-map/replica-map.js";
import type { TabPlatform } from "../../src/client/gossip-map/tabs/tab-channel.js";
import { type GossipMap, type GossipMapOptions, openGossipMap } from "../../src/client/gossip-map.js";
import { type FakeTab, fakeOrigin } from "../support/fake-origin.js";
import { memoryPersistence } from "../support/memory-persistence.js";
import { openInProcess } from "../support/protocols.js";
import { switchedTransport } from "../support/switched-transport.js";
import { until } from "../support/until.js";

type Value = number | string;
const contents = (map: GossipMap<Value>) => Object.fromEntries(map);

/** A server, and the tabs of one browser, which keep the map "m" in the same storage. */
async function open() {
  const server = await openInProcess();
  const origin = fakeOrigin();
  const persist = memoryPersistence("shared");
  const tabs: { map: GossipMap<Value>; kill(): void }[] = [];
  return {
    ...server,
    persist,
    /** Opens the map in a new tab, which has a network of its own to be counted and cut. */
    async tab(options: GossipMapOptions = {}, tab: FakeTab = origin.tab()) {
      const network = switchedTransport(server.transport);
      const map = await joinGossipMap<Value>(network, GossipMapService, "m", { persist, ...options }, tab);
      const kill = () => {
        network.off();
        tab.kill();
        // What the program of a killed tab would do is without effect, and is ended.
        void map.close();
      };
      const opened = { map, network, kill, freeze: tab.freeze, thaw: tab.thaw };
      tabs.push(opened);
      return opened;
    },
    /** A member elsewhere. */
    elsewhere: () => openGossipMap<Value>(server.transport, "m"),
    async [Symbol.asyncDispose]() {
      await Promise.all(tabs.map(({ map }) => map.close()));
      await server[Symbol.asyncDispose]();
    },
  };
}

test("tabs share one stream to the server, and see each other's changes and those of others", async () => {
  await using at = await open();
  await using other = await at.elsewhere();
  const [one, two, three] = [await at.tab(), await at.tab(), await at.tab()];
  await until(() => [one, two, three].every(({ map }) => map.status.current === "connected"));
  one.map.set("one", 1);
  two.map.set("two", 2);
  other.set("other", 3);
  const all = { one: 1, two: 2, other: 3 };
  for (const map of [one.map, two.map, three.map, other]) {
    await until(() => map.size === 3);
    assert.deepEqual(contents(map), all);
  }
  three.map.delete("one");
  await until(() => [one.map, two.map, other].every((map) => !map.has("one")));
  assert.deepEqual([one.network.streams, two.network.streams, three.network.streams], [1, 0, 0]);
});

test("a new tab has the map at once, from the storage", async () => {
  await using at = await open();
  const one = await at.tab();
  one.map.set("k", 1);
  one.network.off();
  await until(() => at.persist.steps.includes("append"));
  const two = await at.tab();
  assert.deepEqual(contents(two.map), { k: 1 });
});

test("a follower's synced() waits for the server, not only for the leading tab", async () => {
  await using at = await open();
  const [one, two] = [await at.tab(), await at.tab()];
  await two.map.synced();
  one.network.off();
  two.map.set("k", 1);
  await until(() => one.map.has("k"));
  const synced = two.map.synced().then(() => "synced");
  assert.equal(await Promise.race([synced, sleep(300, "waiting")]), "waiting");
  assert.equal(two.map.status.unsent, 1);
  await until(() => two.map.status.current === "offline");
  one.network.on();
  assert.equal(await synced, "synced");
  await using other = await at.elsewhere();
  assert.equal(other.get("k"), 1);
  await until(() => two.map.status.unsent === 0 && one.map.status.unsent === 0);
  assert.equal(two.map.status.current, "connected");
});

describe("when the leading tab", () => {
  test("is closed, the next one leads", async () => {
    await using at = await open();
    const [one, two, three] = [await at.tab(), await at.tab(), await at.tab()];
    one.map.set("before", 1);
    await one.map.synced();
    await one.map.close();
    two.map.set("after", 2);
    await three.map.synced();
    await two.map.synced();
    await until(() => three.map.size === 2);
    assert.deepEqual([two.network.streams, three.network.streams], [1, 0]);
    await until(() => three.map.status.current === "connected");
  });

  test("is killed offline, nothing is lost of what it had stored and of what the others wrote", async () => {
    await using at = await open();
    const [one, two, three] = [await at.tab(), await at.tab(), await at.tab()];
    await two.map.synced();
    one.network.off();
    one.map.set("of the leader", 1);
    two.map.set("of a follower", 2);
    await until(() => one.map.size === 2 && three.map.size === 2);
    one.map.set("stored, not told", 3);
    await until(() => at.persist.steps.filter((step) => step === "append").length >= 2);
    one.kill();
    three.map.set("while nobody leads", 4);
    await until(() => two.map.size === 4 && three.map.size === 4);
    await two.map.synced();
    await three.map.synced();
    await using other = await at.elsewhere();
    assert.deepEqual(contents(other), {
      "of the leader": 1,
      "of a follower": 2,
      "stored, not told": 3,
      "while nobody leads": 4,
    });
    await until(() => two.map.status.unsent === 0 && three.map.status.unsent === 0);
  });

  test("is frozen, another one leads within seconds, and the frozen one follows when it is back", async () => {
    await using at = await open();
    const [one, two] = [await at.tab(), await at.tab()];
    await two.map.synced();
    one.freeze();
    one.network.off();
    one.map.set("frozen", 1);
    two.map.set("k", 2);
    const beganMs = performance.now();
    await two.map.synced();
    assert.ok(performance.now() - beganMs < 9000);
    one.thaw();
    await until(() => two.map.get("frozen") === 1);
    await one.map.synced();
    await until(() => one.map.status.current === "connected");
    assert.equal(one.map.get("k"), 2);
    assert.equal(two.network.streams, 1);
  }, 20_000);
});

test("many tabs that come and go keep every write", async () => {
  await using at = await open();
  const expected: Record<string, number> = {};
  let tabs = [await at.tab(), await at.tab(), await at.tab()];
  for (let round = 0; round < 12; round++) {
    for (const [i, { map }] of tabs.entries()) {
      map.set(`${round}-${i}`, round);
      expected[`${round}-${i}`] = round;
    }
    const [first, ...rest] = tabs;
    // A follower that is killed loses what it has not yet told, as any program does.
    await until(() => tabs.every(({ map }) => map.size === Object.keys(expected).length));
    if (round % 2 === 0) first?.kill();
    else await first?.map.close();
    tabs = [...rest, await at.tab()];
  }
  for (const { map } of tabs) await map.synced();
  await using other = await at.elsewhere();
  assert.deepEqual(
    contents(other),
    Object.fromEntries(Object.entries(expected).sort(([a], [b]) => (a < b ? -1 : 1))),
  );
}, 30_000);

test("shareTabs: false gives each tab a stream of its own, and both write to the storage", async () => {
  await using at = await open();
  const [one, two] = [await at.tab({ shareTabs: false }), await at.tab({ shareTabs: false })];
  one.network.off();
  two.network.off();
  one.map.set("one", 1);
  two.map.set("two", 2);
  await one.map.close();
  await two.map.close();
  const three = await at.tab();
  assert.deepEqual(contents(three.map), { one: 1, two: 2 });
  assert.ok(two.network.streams <= 1 && three.network.streams === 1);
});

test("a page that may use no locks, as in a sandboxed frame, has a stream of its own", async () => {
  await using at = await open();
  const { openChannel } = fakeOrigin().tab();
  const request = () => Promise.reject(new DOMException("denied", "SecurityError"));
  const locks = { request } as unknown as TabPlatform["locks"];
  const { map } = await at.tab({}, { locks, openChannel, kill() {}, freeze() {}, thaw() {} });
  map.set("k", 1);
  await map.synced();
});

test("10 000 keys reach a follower whose storage is empty", async () => {
  await using at = await open();
  const one = await at.tab();
  for (let i = 0; i < 10_000; i++) one.map.set(`k${i}`, i);
  at.persist.intercept = (step) => step === "load" && Promise.reject(new Error("unreadable"));
  const two = await at.tab();
  await until(() => two.map.size === 10_000);
  assert.equal(two.map.get("k9999"), 9999);
});
