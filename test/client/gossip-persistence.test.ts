import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, test, vi } from "vitest";
import { type GossipMap, openGossipMap } from "../../src/client/gossip-map.js";
import { memoryPersistence, type StoreStep } from "../support/memory-persistence.js";
import { openInProcess } from "../support/protocols.js";
import { switchedTransport } from "../support/switched-transport.js";
import { until } from "../support/until.js";

const contents = <V>(map: GossipMap<V>): Record<string, V> => Object.fromEntries(map);

/** A server that can be out of reach, and maps that are kept. */
async function open() {
  const server = await openInProcess();
  const network = switchedTransport(server.transport);
  const persist = memoryPersistence();
  return {
    ...server,
    network,
    persist,
    /** Opens the map "m", as the program does each time that it runs. */
    visit: (options = {}) => openGossipMap<number | string>(network, "m", { persist, ...options }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

test("a map is there without the network, and its unsent writes arrive when the network is back", async () => {
  await using at = await open();
  const first = await at.visit();
  first.set("sent", 1);
  first.set("removed", 1);
  await first.synced();
  at.network.off();
  await until(() => first.status.current === "offline");
  first.set("unsent", 2);
  first.delete("removed");
  await first.close();

  const second = await at.visit();
  assert.deepEqual(contents(second), { sent: 1, unsent: 2 });
  assert.equal(second.status.unsent, 2);
  assert.notEqual(second.status.current, "connected");
  await using other = await openGossipMap(at.transport, "m");
  assert.deepEqual(contents(other), { sent: 1, removed: 1 });
  at.network.on();
  await second.synced();
  await until(() => second.status.unsent === 0);
  await until(() => other.has("unsent") && !other.has("removed"));
  assert.deepEqual(contents(other), { sent: 1, unsent: 2 });
  await second.close();

  at.network.off();
  await using third = await at.visit();
  assert.equal(third.status.unsent, 0, "that the server has them is stored");
  assert.deepEqual(contents(third), { sent: 1, unsent: 2 });
});

test("entries are kept although the clock is not corrected yet, as before the first message of the server", async () => {
  await using at = await open();
  at.network.off();
  const first = await at.visit();
  first.set("unsent", 1);
  first.delete("unsent");
  first.set("unsent", 2);
  await first.close();
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - 3_600_000 });
  try {
    const second = await at.visit();
    assert.deepEqual(contents(second), { unsent: 2 });
    assert.equal(second.status.unsent, 1);
    second.set("unsent", 3);
    await second.close();
    const third = await at.visit();
    assert.deepEqual(contents(third), { unsent: 3 }, "the write is later than what was stored");
    await third.close();
  } finally {
    vi.useRealTimers();
  }
});

test("what other members wrote is stored, and is not unsent", async () => {
  await using at = await open();
  await using other = await openGossipMap(at.transport, "m");
  other.set("theirs", 1);
  await other.synced();
  const first = await at.visit();
  await until(() => first.has("theirs"));
  await first.close();
  at.network.off();
  await using second = await at.visit();
  assert.deepEqual([contents(second), second.status.unsent], [{ theirs: 1 }, 0]);
});

test("opening resolves at once with persist, and waits for the server with offline: false", async () => {
  await using at = await open();
  at.network.off();
  await using empty = await at.visit();
  assert.equal(empty.size, 0);
  await assert.rejects(at.visit({ offline: false, namespace: "other" }), { code: 14 });
});

test("maps of the same name in different namespaces have stores of their own", async () => {
  await using at = await open();
  at.network.off();
  await using one = await at.visit();
  await using two = await at.visit({ namespace: "default/m" });
  one.set("k", 1);
  two.set("k", 2);
  await until(() => at.persist.stores.size === 2);
});

test("a write waits a few milliseconds to be stored, and close() stores the rest", async () => {
  await using at = await open();
  at.network.off();
  const map = await at.visit();
  for (let i = 0; i < 1000; i++) map.set(`k${i}`, i);
  assert.deepEqual(at.persist.steps, ["open", "load"]);
  await until(() => at.persist.steps.length > 2);
  assert.deepEqual(at.persist.steps, ["open", "load", "append"], "one record for all");
  map.set("last", 1);
  await map.close();
  await using again = await at.visit();
  assert.equal(again.size, 1001);
});

test("the storage does not grow with the number of writes, and keeps what counts", async () => {
  await using at = await open();
  at.network.off();
  const map = await at.visit();
  const value = "x".repeat(2000);
  for (let round = 0; round < 100; round++) {
    for (let key = 0; key < 20; key++) map.set(`k${key}`, value + round);
    const { length } = at.persist.steps;
    await until(() => at.persist.steps.length > length);
  }
  const bytes = [...at.persist.stores.values()].flat().reduce((sum, { record }) => sum + record.length, 0);
  assert.ok(at.persist.steps.includes("replace"));
  assert.ok(bytes < 500_000, `${bytes} bytes for 40 000 bytes of values`);
  await map.close();
  await using again = await at.visit();
  assert.deepEqual([again.size, again.get("k19")], [20, `${value}99`]);
});

test("a removed key stays removed, and its tombstone is forgotten after tombstoneMs", async () => {
  await using at = await open();
  const map = await at.visit({ tombstoneMs: 50 });
  map.set("k", 1);
  await map.synced();
  map.delete("k");
  await map.synced();
  await until(() => map.status.unsent === 0);
  await map.close();
  await sleep(60);
  at.network.off();
  await using again = await at.visit({ tombstoneMs: 50 });
  assert.equal(again.has("k"), false);
});

describe("when the storage fails", () => {
  const failure = new Error("QuotaExceededError");

  test.each(["open", "load"] as const)("in %s(), the map works in memory and tells", async (broken) => {
    await using at = await open();
    at.persist.intercept = (step) => step === broken && Promise.reject(failure);
    await using map = await at.visit();
    assert.equal(map.status.storageError, failure);
    map.set("k", 1);
    await map.synced();
    await using other = await openGossipMap(at.transport, "m");
    assert.deepEqual(contents(other), { k: 1 });
  });

  test.each(["append", "replace"] as const)(
    "in %s(), it tells, and stores everything later",
    async (broken) => {
      await using at = await open();
      at.network.off();
      const map = await at.visit();
      const changes = map.status.changes();
      map.set("before", 1);
      await until(() => at.persist.steps.includes("append"));
      const failing: StoreStep[] = broken === "append" ? ["append"] : ["append", "replace"];
      at.persist.intercept = (step) => failing.includes(step) && Promise.reject(failure);
      map.set("during", 2);
      await until(() => map.status.storageError === failure);
      for await (const { storageError } of changes) if (storageError) break;
      assert.equal(map.get("during"), 2);
      at.persist.intercept = () => {};
      await until(() => map.status.storageError === undefined);
      map.set("after", 3);
      await map.close();
      await using again = await at.visit();
      assert.deepEqual(contents(again), { after: 3, before: 1, during: 2 });
      assert.equal(again.status.unsent, 3);
    },
  );

  test("in close(), the map is closed all the same", async () => {
    await using at = await open();
    const map = await at.visit();
    at.persist.intercept = (step) => step === "close" && Promise.reject(failure);
    await map.close();
    assert.equal(map.status.current, "closed");
  });

  test("by a damaged record, the others are kept, and everything is stored again", async () => {
    await using at = await open();
    at.network.off();
    const map = await at.visit();
    map.set("a", 1);
    await until(() => at.persist.steps.includes("append"));
    map.set("b", 2);
    await map.close();
    const [records] = at.persist.stores.values();
    assert.equal(records?.length, 2);
    const [first] = records;
    assert.ok(first);
    first.record = first.record.slice(0, -3);
    await using again = await at.visit();
    assert.deepEqual(contents(again), { b: 2 });
    assert.match(String(again.status.storageError), /damaged/);
    await until(() => at.persist.steps.includes("replace"));
    await until(() => again.status.storageError === undefined);
  });

  test("by records of a later version, nothing is overwritten", async () => {
    await using at = await open();
    at.network.off();
    const map = await at.visit();
    map.set("a", 1);
    await map.close();
    const [records] = at.persist.stores.values();
    assert.ok(records);
    const later = Uint8Array.of(2, 0, 0);
    records[0] = { writer: {}, record: later };
    await using again = await at.visit();
    assert.match(String(again.status.storageError), /version 2 .* update it/);
    again.set("b", 2);
    await sleep(20);
    assert.deepEqual(
      records.map(({ record }) => record),
      [later],
    );
  });
});

test("persist must be able to open a store", async () => {
  await using at = await open();
  const wrong = { persist: {} as never };
  await assert.rejects(at.visit(wrong), {
    name: "TypeError",
    message: /persist\.open must be of type function/,
  });
  await assert.rejects(at.visit({ persist: 5 as never }), {
    message: /persist must be of type object, got 5/,
  });
});
