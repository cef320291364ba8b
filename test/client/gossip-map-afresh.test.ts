import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "vitest";
import { openGossipMap } from "../../src/client/gossip-map.js";
import type { Engine } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { memoryPersistence } from "../support/memory-persistence.js";
import { openInProcess } from "../support/protocols.js";
import { switchedTransport } from "../support/switched-transport.js";
import { until } from "../support/until.js";

const quick = { flushMs: 1, antiEntropyMs: 10, tombstoneMs: 100 };
const config = { gossip: { ...quick, idleMs: 20 } };

/** A memory engine that a server does not close. */
function lastingEngine(): Engine {
  const engine = memoryEngine();
  const close = async () => {};
  return { ...engine, close, [Symbol.asyncDispose]: close };
}

const storedKeys = async (engine: Engine) => {
  const keys: string[] = [];
  for await (const { key } of engine.keys.list("gossip\0")) keys.push(key.split("\0")[3] ?? "");
  return keys.join();
};

test.each(["the same server", "a server that was restarted"])(
  "a member that was away for longer than tombstones are kept does not bring removed entries back: %s",
  async (which) => {
    const engine = lastingEngine();
    const first = await openInProcess({ engine, config });
    const wire = switchedTransport(first.transport);
    await using ada = await openGossipMap<string>(wire, "m", quick);
    const bob = await openGossipMap<string>(first.transport, "m", quick);
    ada.set("kept", "1");
    ada.set("removed", "1");
    await ada.synced();
    await until(() => bob.size === 2);
    // Both have been in sync for a while.
    await sleep(50);
    wire.off();
    bob.delete("removed");
    await until(async () => (await storedKeys(engine)) === "kept");
    ada.set("written offline", "1");
    const seen: string[] = [];
    void (async () => {
      for await (const { type, key } of ada.changes()) seen.push(`${type} ${key}`);
    })();
    await bob.close();
    let second = first;
    if (which !== "the same server") {
      await first.server.close();
      second = await openInProcess({ engine, config });
    }
    wire.on(second.transport);
    await ada.synced();
    await until(() => ada.size === 2);
    assert.deepEqual([...ada.keys()], ["kept", "written offline"]);
    await using eve = await openGossipMap<string>(second.transport, "m", quick);
    assert.deepEqual(
      [...eve],
      [
        ["kept", "1"],
        ["written offline", "1"],
      ],
    );
    assert.ok(seen.includes("remove removed"), seen.join());
    assert.equal(await storedKeys(engine), "kept,written offline");
    await second.server.close();
  },
);

test("a member that was away for a short time, or before anything was removed, keeps its entries", async () => {
  await using at = await openInProcess({ config: { gossip: { ...quick, idleMs: 20 } } });
  const wire = switchedTransport(at.transport);
  await using ada = await openGossipMap<string>(wire, "m", quick);
  ada.set("a", "1");
  await ada.synced();
  const seen: string[] = [];
  void (async () => {
    for await (const { type, key } of ada.changes()) seen.push(`${type} ${key}`);
  })();
  wire.off();
  await sleep(300);
  wire.on();
  await until(() => ada.status.current === "connected");
  await ada.synced();
  await sleep(50);
  assert.deepEqual([seen, ada.get("a")], [[], "1"]);
});

test("a stored map that was away for too long starts afresh, and its store as well", async () => {
  await using at = await openInProcess({ config });
  const persist = memoryPersistence();
  const open = () => openGossipMap<string>(at.transport, "m", { ...quick, persist });
  const ada = await open();
  ada.set("kept", "1");
  ada.set("removed", "1");
  await ada.synced();
  await ada.close();
  const bob = await openGossipMap<string>(at.transport, "m", quick);
  await sleep(200);
  bob.delete("removed");
  await until(async () => (await storedKeys(at.server.engine)) === "kept");
  const again = await open();
  await until(() => again.size === 1);
  await again.synced();
  assert.equal(await storedKeys(at.server.engine), "kept");
  await again.close();
  const offline = await openGossipMap<string>(switchedOff(at.transport), "m", {
    ...quick,
    persist,
    offline: true,
  });
  assert.deepEqual([...offline.keys()], ["kept"]);
  await offline.close();
  await bob.close();
});

function switchedOff(transport: Parameters<typeof switchedTransport>[0]) {
  const wire = switchedTransport(transport);
  wire.off();
  return wire;
}
