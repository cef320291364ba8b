import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "vitest";
import { type GossipMap, openGossipMap } from "../../src/client/gossip-map.js";
import type { Engine } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { openInProcess } from "../support/protocols.js";
import { until } from "../support/until.js";

const quick = { flushMs: 1, antiEntropyMs: 10 };

/** A memory engine that a server does not close. */
function lastingEngine(): Engine {
  const engine = memoryEngine();
  const close = async () => {};
  return { ...engine, close, [Symbol.asyncDispose]: close };
}

/** What changes() yields, as it comes. */
function recordChanges(map: GossipMap<string>): string[] {
  const seen: string[] = [];
  void (async () => {
    for await (const { type, key, local } of map.changes())
      seen.push(`${type} ${key}${local ? " here" : ""}`);
  })();
  return seen;
}

test("an entry with a lifetime ends on every member without a message, and changes() reports a removal", async () => {
  await using at = await openInProcess();
  await using ada = await openGossipMap<string>(at.transport, "m", quick);
  const bob = await openGossipMap<string>(at.transport, "m", quick);
  const seen = [recordChanges(ada), recordChanges(bob)];
  ada.set("stays", "s");
  ada.set("k", "v", { ttlMs: 400.5 });
  await ada.synced();
  await until(() => bob.get("k") === "v");
  // A member without a connection knows it too.
  await bob.close();
  await until(() => !ada.has("k"));
  assert.deepEqual(
    [ada.size, ada.get("k"), [...ada.keys()], ada.delete("k")],
    [1, undefined, ["stays"], false],
  );
  await until(() => !bob.has("k"));
  assert.deepEqual([bob.size, [...bob]], [1, [["stays", "s"]]]);
  await until(() => seen[0]?.length === 3);
  assert.deepEqual(seen[0], ["insert stays here", "insert k here", "remove k"]);
});

test("a lifetime ends while the server is restarted on its engine, and set() without one makes an entry stay", async () => {
  const engine = lastingEngine();
  const first = await openInProcess({ engine });
  const ada = await openGossipMap<string>(first.transport, "m", quick);
  ada.set("ends", "v", { ttlMs: 300 });
  ada.set("renewed", "v", { ttlMs: 300 });
  ada.set("renewed", "v", { ttlMs: 60_000 });
  ada.set("kept", "v", { ttlMs: 300 });
  ada.set("kept", "v");
  await ada.close();
  await first.server.close();
  await using second = await openInProcess({ engine });
  await using bob = await openGossipMap<string>(second.transport, "m", quick);
  assert.deepEqual([...bob.keys()], ["ends", "kept", "renewed"]);
  await until(() => bob.size === 2);
  await using late = await openGossipMap<string>(second.transport, "m", quick);
  assert.deepEqual([[...late.keys()], late.size], [["kept", "renewed"], 2]);
});

test("the server forgets an entry that has ended, as a removed one", async () => {
  const engine = lastingEngine();
  const stored = async () => {
    const keys: string[] = [];
    for await (const { key } of engine.keys.list("gossip\0")) keys.push(key.split("\0")[3] ?? "");
    return keys;
  };
  await using at = await openInProcess({
    engine,
    config: { gossip: { ...quick, idleMs: 20, tombstoneMs: 100 } },
  });
  await using ada = await openGossipMap<string>(at.transport, "m", { ...quick, tombstoneMs: 100 });
  ada.set("stays", "s");
  ada.set("k", "v", { ttlMs: 50 });
  await ada.synced();
  assert.deepEqual(await stored(), ["k", "stays"]);
  await until(async () => (await stored()).join() === "stays");
  await sleep(100);
  assert.deepEqual([await stored(), ada.size], [["stays"], 1], "and no member brings it back");
  // Without a member, the map stays open on the server until it has ended.
  ada.set("later", "v", { ttlMs: 200 });
  await ada.synced();
  await ada.close();
  await until(async () => (await stored()).join() === "stays");
});

test("set() refuses a lifetime that is not one, and names what would be right", async () => {
  await using at = await openInProcess();
  await using map = await openGossipMap<string>(at.transport, "m");
  const refused: [options: unknown, type: typeof Error, message: RegExp][] = [
    [
      { ttlMs: 0 },
      RangeError,
      /^Cannot set "k" in gossip map "m": ttlMs must be above 0 and at most 2147483647000/,
    ],
    [{ ttlMs: -1 }, RangeError, /above 0 .* got -1$/],
    [{ ttlMs: Number.NaN }, RangeError, /above 0 .* got NaN$/],
    [{ ttlMs: 2_147_483_647_001 }, RangeError, /at most 2147483647000 ms, got 2147483647001$/],
    [{ ttlMs: Number.POSITIVE_INFINITY }, RangeError, /got Infinity$/],
    [{ ttlMs: "5" }, TypeError, /ttlMs must be of type number, got "5"$/],
    [5, TypeError, /options must be of type object, got 5$/],
  ];
  for (const [options, type, message] of refused) {
    assert.throws(
      () => map.set("k", "v", options as never),
      (error) => error instanceof type && message.test(error.message),
      JSON.stringify(options),
    );
  }
  assert.equal(map.size, 0);
  map.set("k", "v", { ttlMs: 2_147_483_647_000 });
  await map.synced();
  assert.equal(map.get("k"), "v");
});
