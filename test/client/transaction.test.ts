import assert from "node:assert/strict";
import { test } from "vitest";
import { createState, type StateTransaction } from "../../src/index.js";
import { openInProcess } from "../support/protocols.js";

test("transaction() waits for an asynchronous collect()", async () => {
  await using at = await openInProcess();
  const store = createState<number>(at.transport, "default");
  const etag = await store.transaction(async (tx) => {
    tx.set("a", 1);
    await Promise.resolve();
    tx.set("b", 2);
  });
  const found = await store.getMany(["a", "b"]);
  assert.deepEqual(
    [...found.values()].map(({ value, etag }) => [value, etag]),
    [
      [1, etag],
      [2, etag],
    ],
  );
});

test("transaction() writes nothing if collect() throws or rejects", async () => {
  await using at = await openInProcess();
  const store = createState<number>(at.transport, "default");
  const failures = [
    (tx: StateTransaction<number>) => {
      tx.set("a", 1);
      throw new Error("mine");
    },
    async (tx: StateTransaction<number>) => {
      tx.set("a", 1);
      await Promise.resolve();
      throw new Error("mine");
    },
  ];
  for (const collect of failures) await assert.rejects(store.transaction(collect), /^Error: mine$/);
  assert.equal(await store.get("a"), undefined);
  await assert.rejects(store.transaction("a" as never), /^TypeError: .*collect must be of type function/);
});

test("a transaction refuses writes after its end", async () => {
  await using at = await openInProcess();
  const store = createState<number>(at.transport, "default");
  let kept: StateTransaction<number> | undefined;
  await store.transaction((tx) => {
    kept = tx;
    tx.set("a", 1);
  });
  assert.throws(() => kept?.set("b", 2), /^TypeError: .*it is over/);
  assert.throws(() => kept?.delete("a"), /^TypeError: .*it is over/);
  await assert.rejects(
    store.transaction((tx) => {
      kept = tx;
      throw new Error("mine");
    }),
  );
  assert.throws(() => kept?.set("b", 2), /^TypeError: .*it is over/);
  assert.deepEqual([...(await store.getMany(["a", "b"])).keys()], ["a"]);
});
