import assert from "node:assert/strict";
import { Code, ConnectError, createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { isConflict } from "../../src/client/errors.js";
import { createState } from "../../src/client/state.js";

/** How a store treats etags: "redis" compares them for entries, "mysql" for absent keys too, "none" ignores them. */
type Etags = "redis" | "mysql" | "none";

/** A state store like those of the Go runtime. */
function goServer(etags: Etags) {
  const stored = new Map<string, { data: Uint8Array; version: number }>();
  const seen = { writes: 0, probes: 0 };
  const mismatch = () =>
    new ConnectError("possible etag mismatch. error from state store: ERR", Code.Aborted);
  const check = (key: string, etag: string | undefined) => {
    if (etags === "none" || !etag || etag === "0") return;
    const entry = stored.get(key);
    if (!entry && etags === "redis") return;
    if (String(entry?.version) !== etag) throw mismatch();
  };
  const service: Partial<ServiceImpl<typeof Runtime>> = {
    sayHello() {
      throw new ConnectError("no instance found", Code.Unknown);
    },
    getState({ key }) {
      const entry = stored.get(key);
      return entry ? { data: entry.data, etag: etags === "none" ? "" : String(entry.version) } : {};
    },
    saveState({ states }) {
      for (const { key, value, etag, options } of states) {
        seen.writes++;
        if (key.startsWith("fairlead-probe-")) seen.probes++;
        assert.equal(options?.concurrency ?? 0, 0, "first-write stays with a key, and overwrites");
        check(key, etag?.value);
        stored.set(key, { data: value, version: (stored.get(key)?.version ?? 0) + 1 });
      }
      return {};
    },
    deleteState({ key, etag }) {
      check(key, etag?.value);
      stored.delete(key);
      return {};
    },
  };
  const transport = createRouterTransport(({ service: add }) => add(Runtime, service));
  return { store: createState<number>(transport, "redis"), stored, seen };
}

test("ifAbsent and update() of a missing key work if the store compares etags, after one probe that leaves no entry", async () => {
  const { store, stored, seen } = goServer("redis");
  await store.set("a", 1, { ifAbsent: true });
  assert.deepEqual([...stored.keys()], ["a"]);
  await assert.rejects(store.set("a", 2, { ifAbsent: true }), isConflict);
  assert.equal((await store.get("a"))?.value, 1);
  assert.equal(await store.update("b", (n = 0) => n + 1), 1);
  assert.equal(await store.update("b", (n = 0) => n + 1), 2);
  assert.equal(seen.probes, 2);
  assert.deepEqual([...stored.keys()].sort(), ["a", "b"]);
});

test("concurrent update() calls on a missing key lose no change, also if an entry comes and goes", async () => {
  const { store } = goServer("redis");
  await Promise.all(
    Array.from({ length: 32 }, () => store.update("n", (n = 0) => n + 1, { maxAttempts: 1000 })),
  );
  assert.equal((await store.get("n"))?.value, 32);
  let faster = true;
  const change = async (n = 0) => {
    if (faster) await store.set("m", 5);
    faster = false;
    return n + 1;
  };
  assert.equal(await store.update("m", change), 6);
});

test("on other stores they fail as unimplemented before anything is overwritten, with the reason", async () => {
  for (const etags of ["mysql", "none"] as const) {
    const { store, stored, seen } = goServer(etags);
    for (const write of [
      () => store.set("a", 1, { ifAbsent: true }),
      () => store.update("a", () => 1),
      () => store.transaction((tx) => tx.set("a", 1, { ifAbsent: true })),
    ]) {
      await assert.rejects(write, (error) => {
        assert.ok(error instanceof ConnectError && error.code === Code.Unimplemented);
        assert.match(error.message, /only where (the key|it) is absent/);
        return true;
      });
    }
    assert.deepEqual([...stored.keys()], []);
    assert.equal(seen.writes, seen.probes);
  }
});

test("update() of an entry without an etag fails before change() is called", async () => {
  const { store } = goServer("none");
  await store.set("k", 1);
  const update = store.update("k", () => assert.fail("changed"));
  await assert.rejects(update, {
    code: Code.Unimplemented,
    rawMessage: /"k" in state store "redis": .*no etags/,
  });
});

test("a probe that fails for another reason is inconclusive, and is made again", async () => {
  const { store } = goServer("redis");
  const aborted = AbortSignal.abort();
  await assert.rejects(store.set("a", 1, { ifAbsent: true, signal: aborted }), { code: Code.Canceled });
  await store.set("a", 1, { ifAbsent: true });
  assert.equal((await store.get("a"))?.value, 1);
});
