import assert from "node:assert/strict";
import type { Transport } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { createCallbacks, createInvocations } from "../../src/app.js";
import { bytes, createClient, type Fairlead, withRetry } from "../../src/index.js";
import { createNodeTransport, createTunnelTransport } from "../../src/node.js";
import { inProcess } from "../../src/server/index.js";
import { createWebTransport } from "../../src/web.js";

/** A client that counts its calls; none may be sent. */
function open(): { fl: Fairlead; transport: Transport; sent: () => number } {
  let sent = 0;
  const server = inProcess();
  const transport: Transport = {
    unary: (...args) => {
      sent++;
      return server.unary(...args);
    },
    stream: (...args) => {
      sent++;
      return server.stream(...args);
    },
  };
  return { fl: createClient(transport), transport, sent: () => sent };
}

type Call = (fl: Fairlead, given: never) => unknown;

/** Fails unless the call throws or rejects with an error of this kind and sends nothing. */
async function refused(call: Call, given: unknown, kind: RegExp): Promise<void> {
  const { fl, sent } = open();
  await assert.rejects(async () => {
    const result = await call(fl, given as never);
    // Iterables fail when they are created, or at their first step.
    const iterator = (result as AsyncIterable<unknown> | undefined)?.[Symbol.asyncIterator]?.();
    await iterator?.next();
  }, kind);
  assert.equal(sent(), 0, "something was sent");
}

/** All methods that take a name or a key. */
const named: Record<string, Call> = {
  "state()": (fl, name) => fl.state(name),
  "state().get()": (fl, key) => fl.state().get(key),
  "state().getMany()": (fl, key) => fl.state().getMany(["a", key]),
  "state().set()": (fl, key) => fl.state().set(key, 1),
  "state().delete()": (fl, key) => fl.state().delete(key),
  "state().update()": (fl, key) => fl.state().update(key, () => 1),
  "tx.set()": (fl, key) => fl.state().transaction((tx) => tx.set(key, 1)),
  "tx.delete()": (fl, key) => fl.state().transaction((tx) => tx.delete(key)),
  "lock()": (fl, name) => fl.lock(name),
  "lock().tryAcquire()": (fl, key) => fl.lock().tryAcquire(key),
  "lock().acquire()": (fl, key) => fl.lock().acquire(key),
  "lock().withLock()": (fl, key) => fl.lock().withLock(key, () => 1),
  "sequencer()": (fl, name) => fl.sequencer(name),
  "sequencer().next()": (fl, key) => fl.sequencer().next(key),
  "sequencer().ids()": (fl, key) => fl.sequencer().ids(key),
  "pubsub()": (fl, name) => fl.pubsub(name),
  "publish()": (fl, topic) => fl.pubsub().publish(topic, 1),
  "subscribe()": (fl, topic) => fl.pubsub().subscribe(topic),
  "subscribe({ group })": (fl, group) => fl.pubsub().subscribe("t", { group }),
  "subscribe({ deadLetterTopic })": (fl, deadLetterTopic) => fl.pubsub().subscribe("t", { deadLetterTopic }),
  "files()": (fl, name) => fl.files(name),
  "files().put()": (fl, name) => fl.files().put(name, "x"),
  "files().get()": (fl, name) => fl.files().get(name),
  "files().stat()": (fl, name) => fl.files().stat(name),
  "files().delete()": (fl, name) => fl.files().delete(name),
  "map()": (fl, name) => fl.map(name),
  "map().get()": (fl, key) => fl.map("m").get(key),
  "map().put()": (fl, key) => fl.map("m").put(key, 1),
  "map().remove()": (fl, key) => fl.map("m").remove(key),
  "map().compute()": (fl, key) => fl.map("m").compute(key, () => 1),
  "openGossipMap()": (fl, name) => fl.openGossipMap(name),
  "openGossipMap({ memberId })": (fl, memberId) => fl.openGossipMap("m", { memberId }),
  "openGossipMap({ namespace })": (fl, namespace) => fl.openGossipMap("m", { namespace }),
  "log()": (fl, name) => fl.log(name),
  "configuration()": (fl, name) => fl.configuration(name),
  "configuration().get()": (fl, key) => fl.configuration().get([key]),
  "configuration().save()": (fl, key) => fl.configuration().save([{ key, content: "x" }]),
  "configuration().delete()": (fl, key) => fl.configuration().delete([key]),
  "configuration().open()": (fl, key) => fl.configuration().open({ keys: [key] }),
  "secrets()": (fl, name) => fl.secrets(name),
  "secrets().get()": (fl, name) => fl.secrets().get(name),
  "bindings.invoke()": (fl, name) => fl.bindings.invoke(name, "create"),
  "bindings.invoke(, operation)": (fl, operation) => fl.bindings.invoke("b", operation),
  "service()": (fl, id) => fl.service(id),
  "hello()": (fl, name) => fl.hello(name),
  "lifecycle.apply()": (fl, name) => fl.lifecycle.apply("hello", name, {}),
};

describe("names and keys are well-formed text of 1 to 1024 bytes", () => {
  for (const [name, call] of Object.entries(named)) {
    test(name, async () => {
      for (const given of ["\ud800", "a\udfff", 5, 5n, true, null, {}, ["k"], Symbol("k")]) {
        await refused(call, given, /^TypeError: /);
      }
      for (const given of ["", "x".repeat(1025), "ü".repeat(513)])
        await refused(call, given, /^RangeError: /);
    });
  }

  test("the longest one is sent", async () => {
    const { fl } = open();
    const key = "🔑".repeat(256);
    await fl.state().set(key, 1);
    assert.equal((await fl.state().get(key))?.value, 1);
  });
});

/** Methods that take lists: a string is no list, and holes are refused. */
const lists: Record<string, Call> = {
  "state().getMany()": (fl, keys) => fl.state().getMany(keys),
  "configuration().get()": (fl, keys) => fl.configuration().get(keys),
  "configuration().delete()": (fl, keys) => fl.configuration().delete(keys),
  "configuration().open()": (fl, keys) => fl.configuration().open({ keys }),
};

describe("lists are arrays without holes", () => {
  // biome-ignore lint/suspicious/noSparseArray: the subject of the test
  const sparse = ["a", , "b"];
  for (const [name, call] of Object.entries(lists)) {
    test(name, async () => {
      const all = ["abc", null, 5, new Set(["a"]), sparse, new Array(2)];
      for (const given of all) await refused(call, given, /^TypeError: /);
    });
  }

  test("log().append(), save() and values in JSON", async () => {
    for (const given of [sparse, new Array(2)]) {
      await refused(
        (fl, values) => fl.log().append(values),
        given,
        /^TypeError: Cannot append to log "default": .*hole/,
      );
      await refused((fl, items) => fl.configuration().save(items), given, /^TypeError: /);
      for (const call of [
        (fl: Fairlead, value: unknown) => fl.state().set("k", value),
        (fl: Fairlead, value: unknown) => fl.pubsub().publish("t", value),
        (fl: Fairlead, value: unknown) => fl.log().append([value]),
        (fl: Fairlead, value: unknown) => fl.state().transaction((tx) => tx.set("k", value)),
      ]) {
        await refused(call, given, /^TypeError: .*json\(\) cannot hold undefined at \d/);
      }
    }
    // Not even with a codec that can encode undefined.
    const codec = { ...bytes(), encode: () => new Uint8Array() };
    await refused(
      (fl, values) => fl.log("default", { codec }).append(values),
      sparse,
      /^TypeError: .*hole at 1/,
    );
    const { fl } = open();
    assert.deepEqual(await fl.log().append([]), { firstOffset: undefined, lastOffset: undefined });
  });
});

const WRONG = {
  string: [5, null, {}],
  boolean: ["yes", 1, null],
  number: ["5", null, 5n],
  object: ["x", 5, null],
};
const texts = ["x", null, { a: 5 }, { a: undefined }];
const fences = [{}, { store: "s", resource: "r", fence: 5 }, { store: "s", resource: 5, fence: 5n }];

/** Options, each with values of other types. */
const options: Record<string, [call: Call, wrong: readonly unknown[]]> = {
  "get({ consistency })": [(fl, consistency) => fl.state().get("k", { consistency }), ["Strong", 1, null]],
  "get({ timeoutMs })": [(fl, timeoutMs) => fl.state().get("k", { timeoutMs }), WRONG.number],
  "get({ signal })": [(fl, signal) => fl.state().get("k", { signal }), WRONG.object],
  "get(k, options)": [(fl, options) => fl.state().get("k", options), ["x", 5, null]],
  "set({ ifMatch })": [(fl, ifMatch) => fl.state().set("k", 1, { ifMatch }), WRONG.string],
  "set({ ifAbsent })": [(fl, ifAbsent) => fl.state().set("k", 1, { ifAbsent }), WRONG.boolean],
  "set({ ttlMs })": [(fl, ttlMs) => fl.state().set("k", 1, { ttlMs }), WRONG.number],
  "set({ fence })": [(fl, fence) => fl.state().set("k", 1, { fence }), [...WRONG.object, ...fences]],
  "delete({ ifMatch })": [(fl, ifMatch) => fl.state().delete("k", { ifMatch }), WRONG.string],
  "delete({ fence })": [(fl, fence) => fl.state().delete("k", { fence }), [...WRONG.object, ...fences]],
  "update({ maxAttempts })": [
    (fl, maxAttempts) => fl.state().update("k", () => 1, { maxAttempts }),
    WRONG.number,
  ],
  "update({ replaceUnreadable })": [
    (fl, replaceUnreadable) => fl.state().update("k", () => 1, { replaceUnreadable }),
    WRONG.boolean,
  ],
  "update(k, change)": [(fl, change) => fl.state().update("k", change), [undefined, 1, null]],
  "tx.set({ ifMatch })": [
    (fl, ifMatch) => fl.state().transaction((tx) => tx.set("k", 1, { ifMatch })),
    WRONG.string,
  ],
  "tx.delete({ ifMatch })": [
    (fl, ifMatch) => fl.state().transaction((tx) => tx.delete("k", { ifMatch })),
    WRONG.string,
  ],
  "transaction({ fence })": [
    (fl, fence) => fl.state().transaction((tx) => tx.set("k", 1), { fence }),
    [...WRONG.object, ...fences],
  ],
  "put({ ifVersion })": [(fl, ifVersion) => fl.map("m").put("k", 1, { ifVersion }), [5, "5", null]],
  "put({ ifAbsent })": [(fl, ifAbsent) => fl.map("m").put("k", 1, { ifAbsent }), WRONG.boolean],
  "put({ fence })": [(fl, fence) => fl.map("m").put("k", 1, { fence }), [...WRONG.object, ...fences]],
  "remove({ ifVersion })": [(fl, ifVersion) => fl.map("m").remove("k", { ifVersion }), [5, "5", null]],
  "compute(k, change)": [(fl, change) => fl.map("m").compute("k", change), [undefined, 1, null]],
  "map({ partitions })": [(fl, partitions) => fl.map("m", { partitions }), WRONG.number],
  "map({ namespace })": [(fl, namespace) => fl.map("m", { namespace }), WRONG.string],
  "read({ follow })": [(fl, follow) => fl.log().read({ follow }), WRONG.boolean],
  "publish({ contentType })": [
    (fl, contentType) => fl.pubsub().publish("t", 1, { contentType }),
    WRONG.string,
  ],
  "publish({ metadata })": [(fl, metadata) => fl.pubsub().publish("t", 1, { metadata }), texts],
  "publish({ ttlMs })": [(fl, ttlMs) => fl.pubsub().publish("t", 1, { ttlMs }), WRONG.number],
  "subscribe({ manual })": [(fl, manual) => fl.pubsub().subscribe("t", { manual }), WRONG.boolean],
  "subscribe({ onOpen })": [(fl, onOpen) => fl.pubsub().subscribe("t", { onOpen }), [1, null]],
  "files.put({ ifAbsent })": [(fl, ifAbsent) => fl.files().put("f", "", { ifAbsent }), WRONG.boolean],
  "files.put({ metadata })": [(fl, metadata) => fl.files().put("f", "", { metadata }), texts],
  "files.get({ range })": [(fl, range) => fl.files().get("f", { range }), WRONG.object],
  "files.get({ range.offset })": [(fl, offset) => fl.files().get("f", { range: { offset } }), ["5", 5n]],
  "files.list({ pageSize })": [(fl, pageSize) => fl.files().list("", { pageSize }), WRONG.number],
  "withLock(, task)": [(fl, task) => fl.lock().withLock("r", task), [undefined, 1, null]],
  "acquire({ ttlMs })": [(fl, ttlMs) => fl.lock().acquire("r", { ttlMs }), WRONG.number],
  "acquire({ waitMs })": [(fl, waitMs) => fl.lock().acquire("r", { waitMs }), WRONG.number],
  "next({ guarantee })": [(fl, guarantee) => fl.sequencer().next("k", { guarantee }), ["Strong", 1, null]],
  "ids({ block })": [(fl, block) => fl.sequencer().ids("k", { block }), WRONG.number],
  "open({ fallback })": [(fl, fallback) => fl.configuration().open({ fallback }), texts],
  "open({ pollMs })": [(fl, pollMs) => fl.configuration().open({ pollMs }), WRONG.number],
  "save(items)": [(fl, items) => fl.configuration().save(items), ["x", null, { a: 5 }, [{ key: "a" }]]],
  "openGossipMap({ flushMs })": [(fl, flushMs) => fl.openGossipMap("m", { flushMs }), WRONG.number],
  "openGossipMap({ offline })": [(fl, offline) => fl.openGossipMap("m", { offline }), WRONG.boolean],
  "invoke({ metadata })": [(fl, metadata) => fl.bindings.invoke("b", "get", "", { metadata }), texts],
  "invoke(, , data)": [(fl, data) => fl.bindings.invoke("b", "get", data), [5, {}, null]],
  "service().fetch()": [(fl, path) => fl.service("s").fetch(path), [5, null, "\ud800"]],
  "state({ codec })": [(fl, codec) => fl.state("s", { codec }), ["json", null]],
  "pubsub.serve()": [(_, handler) => createCallbacks({ t: handler }), [5, { handler: 5 }, { topic: 5 }]],
  "pubsub.serve({ onError })": [(_, onError) => createCallbacks({}, { onError }), [5, null]],
  "service.serve()": [(_, handler) => createInvocations(handler), [5, null, undefined]],
};

describe("options have their types, and null is not undefined", () => {
  for (const [name, [call, wrong]] of Object.entries(options)) {
    test(name, async () => {
      for (const given of wrong) await refused(call, given, /^TypeError: /);
    });
  }
});

/** Transports, none of which connects before its first call. */
const transports: Record<string, Call> = {
  "createWebTransport({ defaultTimeoutMs })": (_, defaultTimeoutMs) =>
    createWebTransport("http://x", { defaultTimeoutMs }),
  "createNodeTransport({ defaultTimeoutMs })": (_, defaultTimeoutMs) =>
    createNodeTransport("http://x", { defaultTimeoutMs }),
  "createTunnelTransport({ idleMs })": (_, idleMs) => createTunnelTransport("http://x", { idleMs }),
  "createTunnelTransport({ dialTimeoutMs })": (_, dialTimeoutMs) =>
    createTunnelTransport("http://x", { dialTimeoutMs }),
  "createTunnelTransport({ defaultTimeoutMs })": (_, defaultTimeoutMs) =>
    createTunnelTransport("http://x", { defaultTimeoutMs }),
  "createTunnelTransport({ limits.calls })": (_, calls) =>
    createTunnelTransport("http://x", { limits: { calls } }),
};

describe("transports refuse invalid numbers", () => {
  for (const [name, call] of Object.entries(transports)) {
    test(name, async () => {
      for (const given of ["5", null, 5n]) await refused(call, given, /^TypeError: /);
      for (const given of [Number.NaN, -1]) await refused(call, given, /^RangeError: /);
    });
  }
});

/** Numeric options, each with invalid numbers. */
const numbers: Record<string, [call: Call, wrong: readonly number[]]> = {
  timeoutMs: [(fl, timeoutMs) => fl.state().get("k", { timeoutMs }), [Number.NaN]],
  "update({ timeoutMs })": [(fl, timeoutMs) => fl.state().update("k", () => 1, { timeoutMs }), [Number.NaN]],
  ttlMs: [(fl, ttlMs) => fl.state().set("k", 1, { ttlMs }), [Number.NaN, -1, Number.POSITIVE_INFINITY]],
  "update({ maxAttempts })": [
    (fl, maxAttempts) => fl.state().update("k", () => 1, { maxAttempts }),
    [Number.NaN, 0, -1, 1.5],
  ],
  "compute({ maxAttempts })": [
    (fl, maxAttempts) => fl.map("m").compute("k", () => 1, { maxAttempts }),
    [Number.NaN, 0, -1, 1.5],
  ],
  partitions: [
    (fl, partitions) => fl.map("m", { partitions }),
    [Number.NaN, 0, 1.5, Number.POSITIVE_INFINITY],
  ],
  "publish({ ttlMs })": [(fl, ttlMs) => fl.pubsub().publish("t", 1, { ttlMs }), [Number.NaN, 0, -1]],
  maxInFlight: [(fl, maxInFlight) => fl.pubsub().subscribe("t", { maxInFlight }), [Number.NaN, 0, 1.5]],
  "range.offset": [(fl, offset) => fl.files().get("f", { range: { offset } }), [Number.NaN, -1, 1.5]],
  "range.length": [(fl, length) => fl.files().get("f", { range: { length } }), [Number.NaN, -1, 1.5]],
  pageSize: [
    (fl, pageSize) => fl.files().list("", { pageSize }),
    [Number.NaN, 0, 1.5, Number.POSITIVE_INFINITY],
  ],
  "lock ttlMs": [
    (fl, ttlMs) => fl.lock().acquire("r", { ttlMs }),
    [Number.NaN, 0, -1, Number.POSITIVE_INFINITY],
  ],
  waitMs: [(fl, waitMs) => fl.lock().acquire("r", { waitMs }), [Number.NaN, -1]],
  block: [(fl, block) => fl.sequencer().ids("k", { block }), [Number.NaN, 0, 1.5, Number.POSITIVE_INFINITY]],
  pollMs: [
    (fl, pollMs) => fl.configuration().open({ pollMs }),
    [Number.NaN, 0, -1, Number.POSITIVE_INFINITY],
  ],
  flushMs: [(fl, flushMs) => fl.openGossipMap("m", { flushMs }), [Number.NaN, -1, Number.POSITIVE_INFINITY]],
  antiEntropyMs: [
    (fl, antiEntropyMs) => fl.openGossipMap("m", { antiEntropyMs }),
    [Number.NaN, 0, -1, Number.POSITIVE_INFINITY],
  ],
  tombstoneMs: [(fl, tombstoneMs) => fl.openGossipMap("m", { tombstoneMs }), [Number.NaN, -1]],
  "retry.maxAttempts": [
    (_, maxAttempts) => withRetry(inProcess(), { maxAttempts }),
    [Number.NaN, 0, -1, 1.5],
  ],
  "retry.minDelayMs": [(_, minDelayMs) => withRetry(inProcess(), { minDelayMs }), [Number.NaN, -1]],
  "retry.maxDelayMs": [(_, maxDelayMs) => withRetry(inProcess(), { maxDelayMs }), [Number.NaN, -1]],
};

describe("invalid numbers are refused", () => {
  for (const [name, [call, wrong]] of Object.entries(numbers)) {
    test(name, async () => {
      for (const given of wrong) await refused(call, given, /^RangeError: /);
    });
  }
});

test("a gossip map takes only strings as keys, and synced() does not wait for refused writes", async () => {
  const { fl } = open();
  await using map = await fl.openGossipMap<number>("m");
  for (const key of [5, null, "\ud800", Symbol("k")] as never[]) {
    for (const use of [
      () => map.set(key, 1),
      () => map.get(key),
      () => map.has(key),
      () => map.delete(key),
    ]) {
      assert.throws(use, TypeError);
    }
  }
  await map.synced();
  assert.equal(map.size, 0);
});

test("error messages quote values in short form", async () => {
  const { fl } = open();
  const error = await fl
    .state()
    .get("ü".repeat(100_000))
    .catch((error: Error) => error);
  assert.ok(error instanceof RangeError && error.message.length < 400, error?.toString().slice(0, 500));
});
