import assert from "node:assert/strict";
import { Code, createRouterTransport } from "@connectrpc/connect";
import { test } from "vitest";
import { z } from "zod";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { bytes, SchemaError, text } from "../../src/client/codec.js";
import { conflictFacts } from "../../src/client/errors.js";
import { createLock } from "../../src/client/lock.js";
import { createState } from "../../src/client/state.js";
import { forEachProtocol, openInProcess } from "../support/protocols.js";

type Cart = { items: string[] };

forEachProtocol("unary", (open) => {
  test("get() returns what set() stored, and its etag makes a stale write fail", async () => {
    await using at = await open();
    const carts = createState<Cart>(at.transport, "default");
    assert.equal(await carts.get("u1"), undefined);
    const first = await carts.set("u1", { items: [] });
    const second = await carts.set("u1", { items: ["pear"] }, { ifMatch: first ?? "" });
    const hit = await carts.get("u1");
    assert.deepEqual(hit, { key: "u1", value: { items: ["pear"] }, etag: second, ttlRemainingMs: undefined });
    const stale = carts.set("u1", { items: ["plum"] }, { ifMatch: first ?? "" });
    await assert.rejects(stale, { code: Code.Aborted });
    const facts = conflictFacts(await stale.catch((error: unknown) => error));
    assert.equal(facts?.key, "u1");
    assert.equal(facts?.etag, second);
  });

  test("getMany() returns the entries that exist", async () => {
    await using at = await open();
    const store = createState(at.transport, "default", { codec: text() });
    await store.set("a", "1");
    await store.set("ключ || 钥匙 🔑", "2");
    const found = await store.getMany(["a", "missing", "ключ || 钥匙 🔑", "a"]);
    assert.deepEqual(
      [...found.values()].map(({ value }) => value),
      ["1", "2"],
    );
    assert.equal(found.errors.size, 0);
  });

  test("transaction() applies all writes or none, and a later write sees an earlier one", async () => {
    await using at = await open();
    const store = createState(at.transport, "default", { codec: text() });
    await store.set("a", "old");
    await assert.rejects(
      store.transaction((tx) => {
        tx.set("a", "new");
        tx.set("b", "new", { ifMatch: "999" });
      }),
      { code: Code.Aborted },
    );
    assert.equal((await store.get("a"))?.value, "old");
    const etag = await store.transaction((tx) => {
      tx.delete("a");
      tx.set("a", "again", { ifAbsent: true });
      tx.set("b", "new");
    });
    const { a, b } = Object.fromEntries(await store.getMany(["a", "b"]));
    assert.deepEqual([a?.value, b?.value, a?.etag, b?.etag], ["again", "new", etag, etag]);
  });
});

test("64 concurrent update() calls lose no change", async () => {
  await using at = await openInProcess();
  const counter = createState<number>(at.transport, "default");
  const add = () => counter.update("n", (n = 0) => n + 1, { maxAttempts: 1000 });
  await Promise.all(Array.from({ length: 64 }, add));
  assert.equal((await counter.get("n"))?.value, 64);
});

test("update() to undefined removes the entry", async () => {
  await using at = await openInProcess();
  const store = createState<number>(at.transport, "default");
  await store.set("n", 1);
  assert.equal(await store.update("n", () => undefined), undefined);
  assert.equal(await store.get("n"), undefined);
});

test("an empty value is not a missing one", async () => {
  await using at = await openInProcess();
  const store = createState(at.transport, "default", { codec: bytes() });
  await store.set("empty", new Uint8Array());
  assert.equal((await store.get("empty"))?.value.length, 0);
  await store.delete("empty");
  assert.equal(await store.get("empty"), undefined);
});

test("set() rounds ttlMs up to seconds, and get() returns the remaining lifetime", async () => {
  await using at = await openInProcess();
  const store = createState(at.transport, "default");
  await store.set("k", 1, { ttlMs: 1500 });
  const left = (await store.get("k"))?.ttlRemainingMs ?? 0;
  assert.ok(left > 1500 && left <= 2000, `${left}`);
  await assert.rejects(store.set("k", 1, { ttlMs: -1 }), RangeError);
});

test('set() with ifMatch "" is refused before it could write unconditionally', async () => {
  await using at = await openInProcess();
  const store = createState(at.transport, "default");
  await assert.rejects(store.set("k", 1, { ifMatch: "" }), TypeError);
  await assert.rejects(store.delete("k", { ifMatch: "0" }), TypeError);
});

test("a schema is checked when writing and when reading", async () => {
  await using at = await openInProcess();
  await createState(at.transport, "default").set("old", { age: "seven" });
  const people = createState(at.transport, "default", { schema: z.object({ age: z.number() }) });
  await people.set("ada", { age: 36 });
  await assert.rejects(people.set("bob", { age: "?" } as never), SchemaError);
  const old = await people.get("old");
  assert.throws(() => old?.value, /age/);
});

test("update() under a lock that was granted again fails without a retry", async () => {
  await using at = await openInProcess();
  const locks = createLock(at.transport, "default");
  const old = await locks.acquire("r");
  await old.release();
  await using _current = await locks.acquire("r");
  const store = createState<number>(at.transport, "default");
  let changes = 0;
  const update = store.update("k", () => ++changes, { fence: old });
  await assert.rejects(update, { code: Code.Aborted });
  assert.equal(changes, 1);
});

test('the Go runtime: etag "0" if a delete has no condition, and features that it lacks are refused', async () => {
  const deletes: unknown[] = [];
  const go = createRouterTransport(({ service }) => {
    service(Runtime, {
      getState: () => ({}),
      saveState: () => ({}),
      deleteState({ etag }) {
        deletes.push(etag?.value);
        return {};
      },
      executeStateTransaction({ operations }) {
        for (const { request } of operations) deletes.push(request?.etag?.value);
        return {};
      },
    });
  });
  const store = createState<number>(go, "redis");
  await store.delete("k");
  await store.transaction((tx) => tx.delete("k"));
  assert.deepEqual(deletes, ["0", "0"]);
  assert.equal(await store.set("k", 1), undefined);
  const fence = { store: "redis", resource: "r", fence: 1n };
  for (const promise of [
    store.set("k", 1, { ifAbsent: true }),
    store.set("k", 1, { fence }),
    store.update("k", () => 1),
  ]) {
    await assert.rejects(promise, { code: Code.Unimplemented });
  }
});
