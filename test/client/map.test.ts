import assert from "node:assert/strict";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type CallOptions,
  Code,
  ConnectError,
  createClient,
  createRouterTransport,
} from "@connectrpc/connect";
import { test } from "vitest";
import { z } from "zod";
import { MapService, type PutRequest, type Value, ValueSchema } from "../../gen/atomix/pb/map/map_pb.js";
import { SchemaError, text } from "../../src/client/codec.js";
import { conflictFacts } from "../../src/client/errors.js";
import { createLock } from "../../src/client/lock.js";
import { fnv1a32 } from "../../src/client/map/fnv.js";
import { createMap } from "../../src/client/map.js";
import { withRetry } from "../../src/client/retry.js";
import type { Commit, Engine, Write } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { intercept } from "../support/intercept.js";
import { forEachProtocol, openInProcess } from "../support/protocols.js";

type Seat = { guest: string };

forEachProtocol("unary", (open) => {
  test("get() returns what put() stored, and its version makes a stale write fail", async () => {
    await using at = await open();
    const seats = createMap<Seat>(at.transport, "seats");
    assert.equal(await seats.get("12A"), undefined);
    const first = await seats.put("12A", { guest: "Ada" });
    const second = await seats.put("12A", { guest: "Bob" }, { ifVersion: first });
    assert.ok(second > first);
    assert.deepEqual(await seats.get("12A"), { key: "12A", value: { guest: "Bob" }, version: second });
    const stale = seats.put("12A", { guest: "Cyd" }, { ifVersion: first });
    await assert.rejects(stale, { code: Code.Aborted });
    const facts = conflictFacts(await stale.catch((error: unknown) => error));
    assert.deepEqual([facts?.key, facts?.version], ["12A", second]);
  });

  test("put() with ifAbsent creates and does not overwrite", async () => {
    await using at = await open();
    const seats = createMap<Seat>(at.transport, "seats", { partitions: 7 });
    const version = await seats.put("ключ || 钥匙 🔑", { guest: "Ada" }, { ifAbsent: true });
    const second = seats.put("ключ || 钥匙 🔑", { guest: "Bob" }, { ifAbsent: true });
    await assert.rejects(second, { code: Code.Aborted });
    assert.equal(conflictFacts(await second.catch((error: unknown) => error))?.version, version);
    assert.equal((await seats.get("ключ || 钥匙 🔑"))?.value.guest, "Ada");
  });

  test("remove() returns the removed entry, and undefined if there was none", async () => {
    await using at = await open();
    const seats = createMap<Seat>(at.transport, "seats");
    const version = await seats.put("12A", { guest: "Ada" });
    await assert.rejects(seats.remove("12A", { ifVersion: version + 1n }), { code: Code.Aborted });
    assert.deepEqual(await seats.remove("12A", { ifVersion: version }), {
      key: "12A",
      value: { guest: "Ada" },
      version,
    });
    assert.equal(await seats.remove("12A"), undefined);
    await assert.rejects(seats.remove("12A", { ifVersion: version }), { code: Code.Aborted });
    assert.equal(await seats.get("12A"), undefined);
    assert.ok((await seats.put("12A", { guest: "Bob" })) > version);
  });
});

test("64 concurrent compute() calls lose no change, even from an absent key on", async () => {
  await using at = await openInProcess();
  const counts = createMap<number>(at.transport, "counts");
  const add = () => counts.compute("n", (n = 0) => n + 1, { maxAttempts: 1000 });
  await Promise.all(Array.from({ length: 64 }, add));
  assert.equal((await counts.get("n"))?.value, 64);
});

test("of 64 writers over the same version exactly one wins, round after round", async () => {
  await using at = await openInProcess();
  const map = createMap<number>(at.transport, "m");
  let version = await map.put("k", -1);
  for (let round = 0; round < 8; round++) {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 64 }, (_, i) => map.put("k", i, { ifVersion: version })),
    );
    const won = outcomes.flatMap((outcome, i) => (outcome.status === "fulfilled" ? [{ i, ...outcome }] : []));
    assert.equal(won.length, 1);
    const codes = outcomes.map((outcome) => outcome.status === "rejected" && outcome.reason.code);
    assert.equal(codes.filter((code) => code === Code.Aborted).length, 63);
    assert.deepEqual(await map.get("k"), { key: "k", value: won[0]?.i, version: won[0]?.value });
    version = won[0]?.value ?? 0n;
  }
});

test("of 64 writers with ifAbsent exactly one wins", async () => {
  await using at = await openInProcess();
  const map = createMap<number>(at.transport, "m");
  const outcomes = await Promise.allSettled(
    Array.from({ length: 64 }, (_, i) => map.put("k", i, { ifAbsent: true })),
  );
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
});

test("compute() to undefined removes the entry, and only the version that it saw", async () => {
  await using at = await openInProcess();
  const map = createMap<number>(at.transport, "m");
  assert.equal(await map.compute("n", () => undefined), undefined);
  await map.put("n", 1);
  let calls = 0;
  const gone = await map.compute("n", async (n) => {
    if (++calls === 1) await map.put("n", 5);
    return n === 5 ? undefined : 0;
  });
  assert.deepEqual([gone, calls, await map.get("n")], [undefined, 2, undefined]);
});

test("compute() keeps unknown fields of the message, of a later version of the API", async () => {
  await using at = await openInProcess();
  const { put, get } = createClient(MapService, at.transport);
  const header = { protocol: { name: "default" }, primitive: { name: "m" }, partition: 1 };
  // Field 15, a string, is unknown to this version.
  const wire = Uint8Array.from([
    ...toBinary(ValueSchema, create(ValueSchema, { value: Uint8Array.of(49) })),
    0x7a,
    1,
    88,
  ]);
  await put({ header, key: "k", value: fromBinary(ValueSchema, wire) });
  await createMap<number>(at.transport, "m").compute("k", (n = 0) => n + 1);
  const { value } = await get({ header, key: "k" });
  assert.equal(new TextDecoder().decode(value?.value), "2");
  assert.deepEqual(
    value?.$unknown?.map(({ no, data }) => [no, [...data]]),
    [[15, [1, 88]]],
  );
});

test("compute() fails after maxAttempts with the last conflict, and at its deadline", async () => {
  await using at = await openInProcess();
  const map = createMap<number>(at.transport, "m");
  await map.put("n", 0);
  let calls = 0;
  const overtaken = async (n = 0) => {
    calls++;
    await map.put("n", n + 100);
    return n + 1;
  };
  await assert.rejects(map.compute("n", overtaken, { maxAttempts: 3 }), { code: Code.Aborted });
  assert.equal(calls, 3);
  await assert.rejects(map.compute("n", overtaken, { maxAttempts: 1000, timeoutMs: 30 }), {
    code: Code.DeadlineExceeded,
  });
  await assert.rejects(map.compute("n", overtaken, { signal: AbortSignal.abort() }), { code: Code.Canceled });
});

test("a write under the fence of a lock that was granted again is refused, and one under the new fence is not", async () => {
  await using at = await openInProcess();
  const locks = createLock(at.transport, "default");
  const map = createMap<string>(at.transport, "m");
  const old = await locks.acquire("seat");
  await map.put("k", "old", { fence: old });
  await old.release();
  await using now = await locks.acquire("seat");
  const writes = [
    map.put("k", "late", { fence: old }),
    map.put("a", "free"),
    map.remove("k", { fence: old }),
    map.put("b", "held", { fence: now }),
    map.compute("k", () => "late", { fence: old, maxAttempts: 1000 }),
  ];
  const outcomes = await Promise.allSettled(writes);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ["rejected", "fulfilled", "rejected", "fulfilled", "rejected"],
  );
  const facts = conflictFacts(await map.put("k", "late", { fence: old }).catch((error: unknown) => error));
  assert.deepEqual([facts?.key, facts?.fence], ["seat", now.fence]);
  assert.equal((await map.get("k"))?.value, "old");
  assert.equal((await map.remove("k", { fence: now }))?.value, "old");
});

test("an invalid condition does not become no condition", async () => {
  await using at = await openInProcess();
  const map = createMap<number>(at.transport, "m");
  await assert.rejects(map.put("k", 1, { ifVersion: 0n }), RangeError);
  await assert.rejects(map.remove("k", { ifVersion: -1n }), RangeError);
  await assert.rejects(map.put("k", 1, { ifVersion: 1n, ifAbsent: true }), TypeError);
  assert.equal(await map.get("k"), undefined);
});

test("maps of another name, namespace or group share nothing", async () => {
  await using at = await openInProcess();
  const ways = [
    createMap<number>(at.transport, "m"),
    createMap<number>(at.transport, "m2"),
    createMap<number>(at.transport, "m", { namespace: "app" }),
    createMap<number>(at.transport, "m", { group: "other" }),
    createMap<number>(at.transport, "m", { groupNamespace: "prod" }),
  ];
  for (const [i, map] of ways.entries()) await map.put("k", i, { ifAbsent: true });
  for (const [i, map] of ways.entries()) assert.equal((await map.get("k"))?.value, i);
});

test("a key's partition is its FNV-1a hash modulo their number, counted from 1", async () => {
  // From http://www.isthe.com/chongo/tech/comp/fnv/; the last one, beyond ASCII, from another implementation.
  const vectors: [string, number][] = [
    ["", 0x811c9dc5],
    ["a", 0xe40c292c],
    ["b", 0xe70c2de5],
    ["foobar", 0xbf9cf968],
    ["chongo was here!\n", 0xd49930d5],
    ["ключ 🔑", 0x462cbdb9],
  ];
  for (const [key, hash] of vectors) assert.equal(fnv1a32(key), hash);
  await using at = await openInProcess();
  const seen: number[] = [];
  const spied = intercept(at.transport, (call) => {
    seen.push((call.message as unknown as PutRequest).header?.partition ?? 0);
    return call.send();
  });
  const map = createMap<number>(spied, "m", { partitions: 7 });
  for (const [key] of vectors.slice(1)) await map.put(key, 1);
  assert.deepEqual(
    seen,
    vectors.slice(1).map(([key]) => (fnv1a32(key) % 7) + 1),
  );
  for (const partitions of [0, -1, 1.5, 2 ** 32]) {
    assert.throws(() => createMap(at.transport, "m", { partitions }), RangeError);
  }
});

test("a schema is checked when writing and when reading", async () => {
  await using at = await openInProcess();
  await createMap(at.transport, "m").put("old", { guest: 7 });
  const seats = createMap(at.transport, "m", { schema: z.object({ guest: z.string() }) });
  await seats.put("new", { guest: "Ada" });
  await assert.rejects(seats.put("bad", { guest: 7 } as never), SchemaError);
  const old = await seats.get("old");
  assert.throws(
    () => old?.value,
    (error: ConnectError) => error.code === Code.DataLoss && error.cause instanceof SchemaError,
  );
});

test("an empty value is not a missing one", async () => {
  await using at = await openInProcess();
  const map = createMap(at.transport, "m", { codec: text() });
  const version = await map.put("k", "");
  assert.deepEqual(await map.get("k"), { key: "k", value: "", version });
  assert.deepEqual(await map.remove("k"), { key: "k", value: "", version });
});

test("a conditional write whose answer was lost is retried, and its own effect is not reported as a conflict", async () => {
  await using at = await openInProcess();
  let lost = 0;
  const lossy = intercept(at.transport, async (call) => {
    const answer = await call.send();
    if (call.method !== "Put" || lost++ > 0) return answer;
    throw new ConnectError("lost", Code.Unavailable);
  });
  const map = createMap<number>(withRetry(lossy, { minDelayMs: 1 }), "m");
  await assert.rejects(map.put("k", 1, { ifAbsent: true }), { code: Code.Unavailable });
  assert.equal((await map.get("k"))?.value, 1);
  lost = 0;
  await assert.rejects(map.put("k", 2), { code: Code.Unavailable }, "an unconditional one is not sent again");
});

/** A server like that of the Go client: without extensions, and with its own error texts for conflicts. */
function goServer() {
  const entries = new Map<string, Value>();
  let counter = 0n;
  const check = (key: string, version: bigint) => {
    if (version > 0n && entries.get(key)?.version !== version) {
      throw new ConnectError("optimistic lock failure", Code.PermissionDenied);
    }
  };
  return createRouterTransport(({ service }) =>
    service(MapService, {
      put({ key, value }) {
        check(key, value?.version ?? 0n);
        const version = ++counter;
        if (value) entries.set(key, { ...value, version });
        return { header: {}, version };
      },
      get({ key }) {
        const value = entries.get(key);
        return { header: {}, ...(value && { value }) };
      },
      remove({ key, value }) {
        check(key, value?.version ?? 0n);
        const removed = entries.get(key);
        entries.delete(key);
        return { header: {}, ...(removed && { value: removed }) };
      },
    }),
  );
}

test("a server without extensions: conflicts have the same code, and missing features are reported", async () => {
  const transport = goServer();
  const map = createMap<number>(transport, "m");
  const version = await map.put("n", 1);
  await assert.rejects(map.put("n", 2, { ifVersion: version + 1n }), { code: Code.Aborted });
  await assert.rejects(map.remove("n", { ifVersion: version + 1n }), { code: Code.Aborted });
  assert.equal((await map.compute("n", (n = 0) => n + 1))?.value, 2);
  assert.equal(await map.compute("n", () => undefined), undefined);
  await assert.rejects(
    map.compute("n", () => 1),
    { code: Code.Unimplemented, message: /only where it is absent/ },
  );
  await assert.rejects(map.put("n", 1, { ifAbsent: true }), { code: Code.Unimplemented });
  const fence = { store: "default", resource: "r", fence: 1n };
  await assert.rejects(map.put("n", 1, { fence }), { code: Code.Unimplemented });
  await assert.rejects(map.remove("n", { fence }), { code: Code.Unimplemented });
  assert.equal(await map.get("n"), undefined);
});

test("call options reach the wire", async () => {
  await using at = await openInProcess();
  const map = createMap<number>(at.transport, "m");
  let told = 0;
  const call: CallOptions = { onHeader: (headers) => (told += headers.has("fairlead-server") ? 1 : 0) };
  await map.put("k", 1, call);
  await map.get("k", call);
  await map.compute("k", () => 2, call);
  await map.remove("k", call);
  assert.equal(told, 5);
  await assert.rejects(map.get("k", { signal: AbortSignal.abort() }), { code: Code.Canceled });
});

/** An engine whose commits a test can observe, delay or refuse. */
function watched(commit: (writes: readonly Write[], go: () => Promise<Commit>) => Promise<Commit>): Engine {
  const engine = memoryEngine();
  const { keys } = engine;
  return {
    ...engine,
    keys: {
      get: (key) => keys.get(key),
      getMany: (all) => keys.getMany(all),
      list: (...args) => keys.list(...args),
      watch: (...args) => keys.watch(...args),
      commit: (writes) => commit(writes, () => keys.commit(writes)),
    },
  };
}

test("concurrent writes share a commit", async () => {
  let commits = 0;
  const engine = watched((_, go) => {
    commits++;
    return go();
  });
  await using at = await openInProcess({ engine });
  const map = createMap<number>(at.transport, "m");
  const versions = await Promise.all(Array.from({ length: 64 }, (_, i) => map.put(`k${i}`, i)));
  assert.deepEqual(
    versions.toSorted((a, b) => Number(a - b)),
    Array.from({ length: 64 }, (_, i) => BigInt(i + 1)),
  );
  assert.ok(commits < 32, `${commits} commits`);
});

test("two servers on one engine share the versions of a partition, and one write of 64 wins", async () => {
  const engine = memoryEngine();
  await using one = await openInProcess({ engine });
  await using two = await openInProcess({ engine });
  const maps = [one, two].map(({ transport }) => createMap<number>(transport, "m"));
  const versions = await Promise.all(
    Array.from({ length: 64 }, (_, i) => maps[i % 2]?.put(`k${i % 5}`, i) ?? assert.fail()),
  );
  assert.equal(new Set(versions).size, 64);
  assert.ok(versions.includes(64n));
  const created = await Promise.allSettled(
    Array.from({ length: 64 }, (_, i) => maps[i % 2]?.put("new", i, { ifAbsent: true })),
  );
  assert.equal(created.filter(({ status }) => status === "fulfilled").length, 1);
});

test("a write is not made if its caller has canceled it before its turn", async () => {
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  await using at = await openInProcess({
    engine: watched(async (_, go) => {
      await gate;
      return go();
    }),
  });
  const map = createMap<number>(at.transport, "m");
  const first = map.put("first", 1);
  const gone = new AbortController();
  const second = map.put("second", 2, { signal: gone.signal });
  const third = map.put("third", 3);
  await new Promise((resolve) => setTimeout(resolve, 10));
  gone.abort();
  await assert.rejects(second, { code: Code.Canceled });
  open();
  assert.deepEqual(await Promise.all([first, third]), [1n, 2n]);
  assert.equal(await map.get("second"), undefined);
});
