import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { setTimeout as later } from "node:timers/promises";
import { describe, test, vi } from "vitest";
import { collect, reader } from "../../src/conformance/engine/reader.js";
import { neverAborts } from "../../src/conformance/engine/timing.js";
import { set } from "../../src/conformance/engine/writes.js";
import { engineConformance } from "../../src/conformance/engine.js";
import { patternBytes } from "../../src/conformance/test-data.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import type { Logger } from "../../src/server/context.js";
import { EngineFault } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { isCollected } from "../support/gc.js";

describe("as every engine", () => engineConformance(test, async () => memoryEngine()));

const isFull = (name: string, most: number) => (error: unknown) => {
  assert.ok(error instanceof EngineFault);
  assert.deepEqual([error.reason, error.limit], ["full", { name, most }]);
  return true;
};

async function* content(...sizes: number[]): AsyncGenerator<Uint8Array> {
  for (const size of sizes) yield new Uint8Array(size);
}

const plain = { metadata: {}, ifAbsent: false };

describe("bounds", () => {
  test("maxKeyBytes: a commit beyond it changes nothing; replacing and deleting free room", async () => {
    const most = 3 * (256 + 1 + 1000);
    await using engine = memoryEngine({ maxKeyBytes: most });
    const { keys } = engine;
    const value = "x".repeat(1000);
    await keys.commit([set("a", value), set("b", value)]);
    await assert.rejects(keys.commit([set("c", value), set("d", value)]), isFull("maxKeyBytes", most));
    assert.deepEqual(await keys.getMany(["c", "d"]), [undefined, undefined]);
    for (let i = 0; i < 5; i++) await keys.commit([set("c", value)]);
    await assert.rejects(keys.commit([set("a", `${value}x`)]), isFull("maxKeyBytes", most));
    await keys.commit([set("d", value), { type: "delete", key: "a" }]);
    await keys.commit([set("b", "")]);
    await keys.commit([set("d", `${value}x`)]);
  });

  test("maxKeyBytes: expired keys free their room", async () => {
    let nowMs = 1000;
    await using engine = memoryEngine({ maxKeyBytes: 300, now: () => nowMs });
    const { keys } = engine;
    for (let i = 0; i < 5; i++) {
      await keys.commit([set("a", "v", { ttlMs: 10 })]);
      nowMs += 10;
      assert.equal(await keys.get("a"), undefined);
    }
  });

  test("maxWatchBacklog: a watcher that is behind by more keys fails, one that reads continues", async () => {
    await using engine = memoryEngine({ maxWatchBacklog: 100 });
    const { keys } = engine;
    const behind = reader(keys.watch("", neverAborts()));
    for (let i = 0; i < 5000; i++) await keys.commit([set(`k${i % 100}`)]);
    await behind.next();
    for (let i = 0; i < 300; i++) await keys.commit([set(`k${i}`), { type: "delete", key: `k${i}` }]);
    await assert.rejects(
      async () => {
        while (true) await behind.next();
      },
      isFull("maxWatchBacklog", 100),
    );
    const reads = reader(keys.watch("", neverAborts()));
    for (let i = 0; i < 300; i++) {
      await keys.commit([set(`k${i}`)]);
      await reads.next();
    }
  });

  test("maxLogBytes: an append beyond it appends nothing; retention frees room", async () => {
    const most = 10 * (32 + 100);
    await using engine = memoryEngine({ maxLogBytes: most });
    const { logs } = engine;
    const value = new Uint8Array(100);
    const five = Array.from({ length: 5 }, () => value);
    await logs.append("a", five);
    await logs.append("b", five);
    await assert.rejects(logs.append("a", [value]), isFull("maxLogBytes", most));
    await assert.rejects(logs.append("new", [value]), isFull("maxLogBytes", most));
    assert.deepEqual(await logs.bounds("a"), { first: 1n, next: 6n });
    await logs.retain("a", { maxRecords: 5 });
    for (let i = 0; i < 5; i++) await logs.append("a", [value, value]);
    assert.deepEqual(await logs.bounds("a"), { first: 11n, next: 16n });
    await assert.rejects(logs.append("b", [value]), isFull("maxLogBytes", most));
    await logs.retain("a", { maxRecords: 2 });
    await logs.append("b", [value, value, value]);
  });

  test("maxBacklogBytes: a publish beyond it reaches no group; handled events free room", async () => {
    const most = 3 * (64 + 100);
    await using engine = memoryEngine({ maxBacklogBytes: most });
    const { topics } = engine;
    const [slow, fast] = [
      reader(topics.consume("t", "slow", neverAborts())),
      reader(topics.consume("t", "fast", neverAborts())),
    ];
    const value = new Uint8Array(100);
    await topics.publish("t", [value, value]);
    for (let i = 0; i < 2; i++) await (await fast.next()).ack();
    const claimed = await slow.next();
    await assert.rejects(topics.publish("t", [value, value]), isFull("maxBacklogBytes", most));
    await fast.quiet();
    await claimed.retry(60_000);
    await assert.rejects(topics.publish("t", [value, value]), isFull("maxBacklogBytes", most));
    await (await slow.next()).drop();
    await topics.publish("t", [value, value]);
    for (let i = 0; i < 2; i++) await (await fast.next()).ack();
  });

  test("maxBlobBytes: a blob beyond it is not stored, and frees its room", async () => {
    await using engine = memoryEngine({ maxBlobBytes: 200_000 });
    const { blobs } = engine;
    for (let i = 0; i < 3; i++) {
      await assert.rejects(blobs.put("b", content(200_001), plain), isFull("maxBlobBytes", 200_000));
      await assert.rejects(blobs.put("b", content(150_000, 50_001), plain), isFull("maxBlobBytes", 200_000));
    }
    assert.equal(await blobs.get("b"), undefined);
    await blobs.put("b", content(200_000), plain);
    await assert.rejects(blobs.put("c", content(1), plain), isFull("maxBlobBytes", 200_000));
    await blobs.put("empty", content(), plain);
    await blobs.delete("b");
    await blobs.put("c", content(200_000), plain);
  });

  test("maxBlobBytes: a replaced blob frees its room", async () => {
    await using engine = memoryEngine({ maxBlobBytes: 300_000 });
    for (let i = 0; i < 5; i++) await engine.blobs.put("b", content(150_000), plain);
    await engine.blobs.put("c", content(150_000), plain);
    await assert.rejects(engine.blobs.put("d", content(1), plain), isFull("maxBlobBytes", 300_000));
  });

  test("maxBlobBytes: several unfinished blobs cannot exceed it together", async () => {
    await using engine = memoryEngine({ maxBlobBytes: 200_000 });
    const { blobs } = engine;
    let go = () => {};
    const going = new Promise<void>((resolve) => {
      go = resolve;
    });
    const unfinished = async function* () {
      yield new Uint8Array(65_536 * 2);
      await going;
    };
    const first = blobs.put("a", unfinished(), plain);
    await assert.rejects(blobs.put("b", unfinished(), plain), isFull("maxBlobBytes", 200_000));
    go();
    assert.equal((await first)?.size, 131_072);
    await blobs.put("b", content(68_928), plain);
  });

  test("maxBlobBytes: failed content, and content whose name was taken in the meantime, free their room", async () => {
    await using engine = memoryEngine({ maxBlobBytes: 200_000 });
    const { blobs } = engine;
    const breaks = async function* () {
      yield new Uint8Array(150_000);
      throw new Error("broken");
    };
    const late = async function* () {
      yield new Uint8Array(150_000);
      await blobs.put("b", content(10), plain);
    };
    for (let i = 0; i < 3; i++) {
      await assert.rejects(blobs.put("b", breaks(), plain), /broken/);
      assert.equal(await blobs.put("b", late(), { metadata: {}, ifAbsent: true }), undefined);
      await blobs.delete("b");
    }
    await blobs.put("b", content(200_000), plain);
  });

  test("maxBlobBytes: a deleted or replaced blob counts while it is read", async () => {
    await using engine = memoryEngine({ maxBlobBytes: 200_000 });
    const { blobs } = engine;
    await blobs.put("b", content(150_000), plain);
    const begun = reader((await blobs.get("b"))?.content ?? content());
    const unread = (await blobs.get("b"))?.content ?? content();
    await begun.next();
    await blobs.delete("b");
    await assert.rejects(blobs.put("c", content(100_000), plain), isFull("maxBlobBytes", 200_000));
    await begun.leave();
    await blobs.put("c", content(200_000), plain);
    assert.equal((await collect(unread)).length, 3);
    await assert.rejects(blobs.put("d", content(1), plain), isFull("maxBlobBytes", 200_000));
  });

  test("a blob of many small chunks takes no more memory than its bytes", async () => {
    await using engine = memoryEngine();
    const chunks = async function* () {
      for (let i = 0; i < 20_000; i++) yield new Uint8Array(i % 2);
    };
    await engine.blobs.put("b", chunks(), plain);
    assert.equal((await collect((await engine.blobs.get("b"))?.content ?? content())).length, 1);
  });
});

describe("time", () => {
  test("now() is the only clock of entries, records and blobs", async () => {
    let nowMs = 5000;
    await using engine = memoryEngine({ now: () => nowMs });
    const { keys, logs, blobs } = engine;
    await keys.commit([set("k", "v", { ttlMs: 100 })]);
    assert.equal((await keys.get("k"))?.expiresAtMs, 5100);
    await logs.append("l", [utf8("a")]);
    await logs.retain("l", { maxAgeMs: 100 });
    assert.equal((await blobs.put("b", content(1), plain))?.modifiedMs, 5000);
    nowMs = 5099;
    assert.ok(await keys.get("k"));
    assert.equal((await logs.bounds("l")).first, 1n);
    nowMs = 5100;
    assert.equal(await keys.get("k"), undefined);
    assert.equal((await logs.bounds("l")).first, 2n);
  });

  test("a clock that is set back does not take a log's time back", async () => {
    let nowMs = 5000;
    await using engine = memoryEngine({ now: () => nowMs });
    await engine.logs.append("l", [utf8("a")]);
    nowMs = 1000;
    await engine.logs.append("l", [utf8("b")]);
    const batches = await collect(engine.logs.read("l", 1n, { follow: false, signal: neverAborts() }));
    assert.deepEqual(
      batches.flat().map(({ timestampMs }) => timestampMs),
      [5000, 5000],
    );
  });

  test("an entry expires on time, although thousands of others were removed before", async () => {
    await using engine = memoryEngine();
    const { keys } = engine;
    await keys.commit([set("last", "v", { ttlMs: 60 })]);
    const names = Array.from({ length: 3000 }, (_, i) => `k${i}`);
    await keys.commit(names.map((name) => set(name, "v", { ttlMs: 60_000 })));
    const changes = reader(keys.watch("last", neverAborts()));
    await keys.commit(names.map((key) => ({ type: "delete", key })));
    assert.deepEqual(await changes.next(), { type: "delete", key: "last" });
  });

  test("groupIdleMs: a group that has been without a consumer for as long, and without events, is forgotten", async () => {
    await using engine = memoryEngine({ groupIdleMs: 20, maxGroups: 1 });
    const { topics } = engine;
    reader(topics.consume("t", "g", AbortSignal.abort()));
    assert.throws(() => topics.consume("t", "other", AbortSignal.abort()), isFull("maxGroups", 1));
    await later(40);
    topics.consume("t", "other", AbortSignal.abort());
  });

  test("groupIdleMs: a group that events wait for is kept", async () => {
    await using engine = memoryEngine({ groupIdleMs: 20 });
    const { topics } = engine;
    reader(topics.consume("t", "g", AbortSignal.abort()));
    await topics.publish("t", [utf8("waits")]);
    await later(60);
    assert.equal(fromUtf8((await reader(topics.consume("t", "g", neverAborts())).next()).value), "waits");
  });

  test("groupBacklogIdleMs: events of a group without a consumer are dropped then, and their number is logged", async () => {
    const warn = vi.fn<Logger["warn"]>();
    await using engine = memoryEngine({ groupIdleMs: 20, groupBacklogIdleMs: 40, log: { warn } });
    const { topics } = engine;
    const enough = new AbortController();
    const leaving = reader(topics.consume("pubsub\0t", "g", enough.signal));
    await topics.publish("pubsub\0t", ["1", "2", "3"].map(utf8));
    await (await leaving.next()).retry(60_000);
    enough.abort();
    await vi.waitFor(() => assert.equal(warn.mock.calls.length, 1));
    assert.deepEqual(warn.mock.calls[0]?.[0], { pubsub: "pubsub", topic: "t", group: "g", events: 3 });
    const events = reader(topics.consume("pubsub\0t", "g", neverAborts()));
    await events.quiet();
    await topics.publish("pubsub\0t", [utf8("new")]);
    assert.equal(fromUtf8((await events.next()).value), "new");
  });

  test("groupIdleMs: a group that has a consumer is kept, idle or not", async () => {
    await using engine = memoryEngine({ groupIdleMs: 20 });
    const { topics } = engine;
    reader(topics.consume("t", "g", AbortSignal.abort()));
    const events = topics.consume("t", "g", neverAborts());
    await topics.publish("t", [utf8("waits")]);
    await later(40);
    assert.equal(fromUtf8((await reader(events).next()).value), "waits");
  });

  test("groupIdleMs may have any length", async () => {
    await using engine = memoryEngine({ groupIdleMs: Number.POSITIVE_INFINITY });
    const { topics } = engine;
    reader(topics.consume("t", "g", AbortSignal.abort()));
    await topics.publish("t", [utf8("waits")]);
    await later(10);
    assert.equal(fromUtf8((await reader(topics.consume("t", "g", neverAborts())).next()).value), "waits");
  });
});

describe("memory is freed", () => {
  test("of a key that is replaced, deleted or expired, without a call", async () => {
    await using engine = memoryEngine();
    const { keys } = engine;
    const gone = await isCollected(async (watch) => {
      await keys.commit([
        { type: "set", key: "a", value: watch(patternBytes(100)) },
        { type: "set", key: "b", value: watch(patternBytes(100)) },
        { type: "set", key: "c", value: watch(patternBytes(100)), ttlMs: 10 },
      ]);
      await keys.commit([set("a"), { type: "delete", key: "b" }]);
      await later(30);
    });
    assert.equal(gone, true);
  });

  test("of records that retention has dropped, also of a log that nobody uses", async () => {
    await using engine = memoryEngine();
    const { logs } = engine;
    const gone = await isCollected(async (watch) => {
      await logs.retain("old", { maxAgeMs: 10 });
      await logs.append("old", [watch(patternBytes(100))]);
      await logs.retain("many", { maxRecords: 1 });
      await logs.append("many", [watch(patternBytes(100)), patternBytes(100)]);
      await later(50);
    });
    assert.equal(gone, true);
  });

  test("of the changes for a watcher that has left without reading", async () => {
    await using engine = memoryEngine();
    const { keys } = engine;
    let unread: AsyncIterable<unknown> | undefined;
    const gone = await isCollected(async (watch) => {
      const enough = new AbortController();
      unread = keys.watch("", enough.signal);
      await keys.commit([{ type: "set", key: "k", value: watch(patternBytes(100)) }]);
      await keys.commit([{ type: "delete", key: "k" }]);
      enough.abort();
    });
    assert.equal(gone, true);
    assert.ok(unread);
    assert.deepEqual(await collect(unread), []);
  });

  test("of events that are handled, and of those of a forgotten group", async () => {
    await using engine = memoryEngine({ groupBacklogIdleMs: 10 });
    const { topics } = engine;
    const gone = await isCollected(async (watch) => {
      const events = reader(topics.consume("t", "lasting", neverAborts()));
      const enough = new AbortController();
      const leaving = reader(topics.consume("t", "forgotten", enough.signal));
      await topics.publish("t", [
        watch(patternBytes(100)),
        watch(patternBytes(100)),
        watch(patternBytes(100)),
      ]);
      for (let i = 0; i < 3; i++) await (await events.next()).ack();
      await (await leaving.next()).retry(60_000);
      await leaving.next();
      enough.abort();
      await later(30);
    });
    assert.equal(gone, true);
  });

  test("of the request that a stored value arrived in", async () => {
    await using engine = memoryEngine();
    const { keys, logs, topics } = engine;
    const events = reader(topics.consume("t", "g", neverAborts()));
    const gone = await isCollected(async (watch) => {
      const part = () => new Uint8Array(watch(new ArrayBuffer(100_000)), 5, 100);
      await keys.commit([{ type: "set", key: "k", value: part() }]);
      await logs.append("l", [part()]);
      await topics.publish("t", [part()]);
    });
    assert.equal(gone, true);
    assert.equal((await keys.get("k"))?.value.length, 100);
    assert.equal((await events.next()).value.length, 100);
  });

  test("a watch, a read or a consume that has ended leaves no listener on its signal", async () => {
    const engine = memoryEngine();
    const { keys, logs, topics } = engine;
    const { signal } = new AbortController();
    const begin = () => [
      reader<unknown>(keys.watch("k", signal)),
      reader<unknown>(logs.read("l", 1n, { follow: true, signal })),
      reader<unknown>(topics.consume("t", "g", signal)),
    ];
    const left = begin();
    for (const iteration of left) await iteration.quiet(1);
    await keys.commit([set("k")]);
    await logs.append("l", [utf8("a")]);
    await topics.publish("t", [utf8("a")]);
    for (const iteration of left) {
      await iteration.next();
      await iteration.leave();
    }
    assert.equal(getEventListeners(signal, "abort").length, 0);
    begin();
    keys.watch("k", signal);
    topics.consume("t", "g", signal);
    await engine.close();
    assert.equal(getEventListeners(signal, "abort").length, 0);
  });
});
