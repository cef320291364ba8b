import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { createLock, createMap, createState } from "../../../src/index.js";
import { openSeveral } from "../../support/several-servers.js";

test("a counter by compare-and-set on several servers ends at its acknowledged increments", async () => {
  await using at = await openSeveral({ delayMs: 1 });
  const increments = at.servers.flatMap(({ transport }) => {
    const store = createState<number>(transport, "default");
    return Array.from({ length: 3 }, async () => {
      for (let i = 0; i < 10; i++) {
        for (;;) {
          const entry = await store.get("n");
          const condition = entry ? { ifMatch: entry.etag } : { ifAbsent: true };
          try {
            await store.set("n", (entry?.value ?? 0) + 1, condition);
            break;
          } catch (error) {
            assert.equal(ConnectError.from(error).code, Code.Aborted);
          }
        }
      }
    });
  });
  await Promise.all(increments);
  for (const { transport } of at.servers) {
    assert.equal((await createState<number>(transport, "default").get("n"))?.value, 90);
  }
});

test("an etag of one server is a condition on every other one", async () => {
  await using at = await openSeveral();
  const [one, two, three] = at.servers.map(({ transport }) => createState<string>(transport, "default"));
  const etag = await one?.set("k", "a");
  const next = await two?.set("k", "b", { ifMatch: etag });
  await assert.rejects(three?.set("k", "c", { ifMatch: etag }) ?? assert.fail(), { code: Code.Aborted });
  await three?.delete("k", { ifMatch: next });
  assert.equal(await one?.get("k"), undefined);
});

test("a lock of one server is held, renewed and released on all, and its fence guards state and maps of all", async () => {
  await using at = await openSeveral();
  const [one, two, three] = at.servers.map(({ transport }) => transport);
  const stale = (await createLock(one ?? assert.fail(), "default").tryAcquire("r")) ?? assert.fail();
  for (const other of [two, three])
    assert.equal(await createLock(other ?? assert.fail(), "default").tryAcquire("r"), undefined);
  const store = createState<string>(two ?? assert.fail(), "default");
  const map = createMap<string>(three ?? assert.fail(), "m");
  await store.set("k", "first", { fence: stale });
  await map.put("k", "first", { fence: stale });
  assert.equal(await stale.release(), true);
  const held = (await createLock(three ?? assert.fail(), "default").tryAcquire("r")) ?? assert.fail();
  assert.ok((held.fence ?? 0n) > (stale.fence ?? 0n));
  const refused = [store.set("k", "late", { fence: stale }), map.put("k", "late", { fence: stale })];
  for (const result of await Promise.allSettled(refused))
    assert.ok(result.status === "rejected" && ConnectError.from(result.reason).code === Code.Aborted);
  await store.set("k", "second", { fence: held });
  assert.equal((await map.get("k"))?.value, "first");
  await held.release();
});

test("of the holders of a lock on several servers there is one at a time, and none misses an increment", async () => {
  await using at = await openSeveral({ delayMs: 1 });
  let holders = 0;
  const work = at.servers.map(async ({ transport }) => {
    const locks = createLock(transport, "default");
    const store = createState<number>(transport, "default");
    for (let i = 0; i < 8; i++) {
      await locks.withLock("r", async (fence) => {
        assert.equal(++holders, 1);
        await store.set("n", ((await store.get("n"))?.value ?? 0) + 1, { fence });
        holders--;
      });
    }
  });
  await Promise.all(work);
  const [one] = at.servers;
  const store = createState<number>(one?.transport ?? assert.fail(), "default");
  assert.equal((await store.get("n"))?.value, 24);
});
