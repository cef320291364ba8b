import assert from "node:assert/strict";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport, type Transport } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import {
  type ConfigurationItem,
  ConfigurationItemSchema,
  Runtime,
  type SubscribeConfigurationRequest,
} from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { type ConfigurationChange, createConfiguration } from "../../src/client/configuration.js";
import { Queue } from "../../src/lib/queue.js";
import type { Engine } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { createWebTransport } from "../../src/transport/web.js";
import { openCuttableProxy } from "../support/cuttable-proxy.js";
import { forEachProtocol, openInProcess } from "../support/protocols.js";

/** The first `count` changes, shortly. */
async function take(changes: AsyncIterable<ConfigurationChange>, count: number): Promise<string[]> {
  const taken: string[] = [];
  for await (const { key, value, previous } of changes) {
    if (taken.push(`${key}: ${previous} → ${value}`) === count) break;
  }
  return taken;
}

forEachProtocol("unary", (open) => {
  test("get() finds what save() stored and delete() left, in the order asked for", async () => {
    await using at = await open();
    const store = createConfiguration(at.transport, "default", { appId: "shop", group: "web" });
    await store.save({ theme: "dark", "ключ || 🔑": "2", gone: "3" });
    await store.delete(["gone", "never there"]);
    const some = await store.get(["ключ || 🔑", "missing", "theme"]);
    assert.deepEqual([...some.keys()], ["ключ || 🔑", "theme"]);
    assert.deepEqual([...(await store.get()).keys()], ["theme", "ключ || 🔑"]);
    const { content, group, label } = some.get("theme") as ConfigurationItem;
    assert.deepEqual([content, group, label], ["dark", "web", "default"]);
  });

  test("open() follows whatever the way can carry: a stream, or reading again and again", async () => {
    await using at = await open();
    const store = createConfiguration(at.transport, "default");
    await store.save({ theme: "light" });
    await using config = await store.open({
      keys: ["theme", "size"],
      fallback: { size: "10" },
      pollMs: 20,
    });
    assert.deepEqual({ ...config.current }, { theme: "light", size: "10" });
    const changes = config.changes();
    await store.save({ theme: "dark", other: "x" });
    assert.deepEqual(await take(changes, 1), ["theme: light → dark"]);
    const more = config.changes();
    await store.save({ size: "12" });
    assert.deepEqual(await take(more, 1), ["size: 10 → 12"]);
    assert.deepEqual({ ...config.current }, { theme: "dark", size: "12" });
  });
});

forEachProtocol("duplex", (open) => {
  test("open() tells each change of each key, also a deletion, which brings back the fallback", async () => {
    await using at = await open();
    const store = createConfiguration(at.transport, "default");
    await using config = await store.open({ fallback: { theme: "light" } });
    const changes = take(config.changes(), 5);
    await store.save({ theme: "dark", a: "1" });
    await store.delete(["theme", "a"]);
    await store.save({ theme: "light" });
    await store.save([{ key: "theme", content: "" }]);
    await store.save({ a: "2" });
    assert.deepEqual((await changes).sort(), [
      "a: 1 → undefined",
      "a: undefined → 1",
      "a: undefined → 2",
      "theme: dark → light",
      "theme: light → dark",
    ]);
    assert.deepEqual({ ...config.current }, { theme: "light", a: "2" });
  });
});

test("rooms of another app, group or label are their own", async () => {
  await using at = await openInProcess();
  const open = (options: object) => createConfiguration(at.transport, "default", options);
  const rooms = [{}, { appId: "a" }, { group: "g" }, { label: "l" }];
  for (const [i, options] of rooms.entries()) await open(options).save({ k: String(i) });
  for (const [i, options] of rooms.entries()) {
    assert.equal((await open(options).get()).get("k")?.content, String(i));
  }
});

test("save() of an item that get() gave keeps its tags, its metadata and what is not known of it", async () => {
  await using at = await openInProcess();
  const store = createConfiguration(at.transport, "default", { group: "web" });
  // Field 99, a varint: 7.
  const unknown = new Uint8Array([0x98, 0x06, 7]);
  const known = create(ConfigurationItemSchema, {
    key: "k",
    content: "1",
    tags: { team: "shop" },
    metadata: { note: "ß" },
  });
  const bytes = toBinary(ConfigurationItemSchema, known);
  await store.save([fromBinary(ConfigurationItemSchema, new Uint8Array([...bytes, ...unknown]))]);
  const item = (await store.get(["k"])).get("k") as ConfigurationItem;
  await store.save([{ ...item, content: "2" }]);
  const { content, tags, metadata, $unknown } = (await store.get()).get("k") as ConfigurationItem;
  assert.deepEqual([content, { ...tags }, { ...metadata }], ["2", { team: "shop" }, { note: "ß" }]);
  assert.deepEqual(
    $unknown?.map(({ no, data }) => [no, ...data]),
    [[99, 7]],
  );
});

test("no keys are no keys: nothing is read, written, deleted or opened by mistake", async () => {
  await using at = await openInProcess();
  const store = createConfiguration(at.transport, "default");
  await store.save({ k: "1" });
  assert.equal((await store.get([])).size, 0);
  await store.delete([]);
  await store.save({});
  assert.equal((await store.get()).size, 1);
  await assert.rejects(store.open({ keys: [] }), RangeError);
  await assert.rejects(store.open({ pollMs: 0 }), RangeError);
});

test("`current` is a frozen object that stays as it is, without keys of its own", async () => {
  await using at = await openInProcess();
  const store = createConfiguration(at.transport, "default");
  await using config = await store.open();
  const before = config.current;
  const changes = config.changes();
  await store.save({ __proto: "1", k: "2" });
  await take(changes, 2);
  assert.deepEqual({ ...before }, {});
  assert.equal(config.current["toString"], undefined);
  assert.equal(config.current, config.current);
  assert.throws(() => Object.assign(config.current, { k: "3" }), TypeError);
});

test("64 writers at once: the subscriber ends with the last value, and never goes back", async () => {
  const engine = memoryEngine();
  await using at = await openInProcess({ engine });
  const store = createConfiguration(at.transport, "default");
  const writing = Promise.all(
    Array.from({ length: 64 }, async (_, writer) => {
      for (let n = 0; n < 10; n++) await store.save({ k: `${writer}.${n}`, [`w${writer}`]: String(n) });
      await store.delete([`w${writer}`]);
    }),
  );
  await using config = await store.open();
  const changes = config.changes();
  await writing;
  await store.save({ done: "yes" });
  const newest = new Map<string, number>();
  for await (const { key, value } of changes) {
    if (key === "done") break;
    const n = value === undefined ? 10 : Number(key === "k" ? value.split(".")[1] : value);
    const writer = key === "k" ? `w${value?.split(".")[0]}/k` : key;
    assert.ok(n > (newest.get(writer) ?? -1), `${key}: ${value} after ${newest.get(writer)}`);
    newest.set(writer, n);
  }
  assert.deepEqual({ ...config.current }, { done: "yes", k: (await store.get(["k"])).get("k")?.content });
});

test("subscribers that open while others write miss nothing", async () => {
  await using at = await openInProcess();
  const store = createConfiguration(at.transport, "default");
  let stop = false;
  let n = 0;
  const writing = (async () => {
    while (!stop) await store.save({ k: String(++n) });
  })();
  for (let round = 0; round < 30; round++) {
    await using config = await store.open({ keys: ["k"] });
    let last = Number(config.current["k"] ?? 0);
    let seen = 0;
    for await (const { value } of config.changes()) {
      assert.equal(Number(value), ++last);
      if (++seen === 5) break;
    }
  }
  stop = true;
  await writing;
});

test("a reader of changes() that falls behind is told the last value of each key", async () => {
  await using at = await openInProcess();
  const store = createConfiguration(at.transport, "default");
  await using config = await store.open();
  const changes = config.changes();
  for (let n = 1; n <= 1300; n++) await store.save({ k: String(n) });
  const seen = await readUntil(changes, "1300");
  assert.ok(seen.length < 1100, `${seen.length}`);
  assert.equal(seen[0]?.previous, undefined);
  for (const [i, { previous }] of seen.entries()) if (i > 0) assert.equal(previous, seen[i - 1]?.value);
});

async function readUntil(changes: AsyncIterable<ConfigurationChange>, last: string) {
  const seen: ConfigurationChange[] = [];
  for await (const change of changes) {
    seen.push(change);
    if (change.value === last) break;
  }
  return seen;
}

test("close() ends the loops over changes() and the server's watch; aborting throws in them", async () => {
  const engine = memoryEngine();
  const signals: AbortSignal[] = [];
  const keys: Engine["keys"] = {
    get: (key) => engine.keys.get(key),
    getMany: (keys) => engine.keys.getMany(keys),
    commit: (writes) => engine.keys.commit(writes),
    list: (prefix, after) => engine.keys.list(prefix, after),
    watch(prefix, signal) {
      signals.push(signal);
      return engine.keys.watch(prefix, signal);
    },
  };
  await using at = await openInProcess({ engine: { ...engine, keys } });
  const store = createConfiguration(at.transport, "default");
  const config = await store.open();
  const loop = take(config.changes(), 1);
  await Promise.all([config.close(), config.close()]);
  assert.deepEqual(await loop, []);
  assert.deepEqual(await take(config.changes(), 1), []);
  assert.deepEqual(
    signals.map(({ aborted }) => aborted),
    [true],
  );

  const leave = new AbortController();
  const other = await store.open({ signal: leave.signal });
  const [one, two] = [take(other.changes(), 1), take(other.changes({ signal: AbortSignal.abort() }), 1)];
  await assert.rejects(two, { code: Code.Canceled });
  leave.abort();
  await assert.rejects(one, { code: Code.Canceled });
  await assert.rejects(store.open({ signal: leave.signal, fallback: {} }), { code: Code.Canceled });
});

test("open() of a store that is not there rejects, with a fallback too", async () => {
  await using at = await openInProcess();
  const store = createConfiguration(at.transport, "nope");
  await assert.rejects(store.open(), { code: Code.InvalidArgument });
  await assert.rejects(store.open({ fallback: { a: "1" } }), { code: Code.InvalidArgument });
});

describe("a server that cannot be reached", () => {
  test("open() rejects without a fallback", async () => {
    await using transport = createNodeTransport("http://127.0.0.1:9");
    const store = createConfiguration(transport, "default");
    await assert.rejects(store.open(), { code: Code.Unavailable });
    const web = createConfiguration(createWebTransport("http://127.0.0.1:9"), "default");
    await assert.rejects(web.open(), { code: Code.Unavailable });
  });

  test("open() with a fallback resolves with it, and connects when the server is there", async () => {
    const nobody = await listen(createServer({ platform: nodePlatform }), { port: 0 });
    await nobody.close();
    await using transport = createNodeTransport(nobody.url);
    const store = createConfiguration(transport, "default");
    await using config = await store.open({ keys: ["theme"], fallback: { theme: "light" } });
    assert.equal(config.current.theme, "light");
    const changes = config.changes();
    const server = createServer({ platform: nodePlatform });
    await createConfiguration(server.transport(), "default").save({ theme: "dark" });
    await using _at = await listen(server, { port: nobody.port });
    assert.deepEqual(await take(changes, 1), ["theme: light → dark"]);
    await config.close();
    await transport.close();
  });

  test("open() waits no longer than timeoutMs for one that does not answer", async () => {
    const silent = createRouterTransport(({ rpc }) =>
      rpc(Health.method.check, (_, { signal }) => new Promise((_, no) => (signal.onabort = () => no()))),
    );
    const store = createConfiguration(silent, "default");
    await assert.rejects(store.open({ timeoutMs: 20 }), { code: Code.DeadlineExceeded });
    await using config = await store.open({ timeoutMs: 20, fallback: { a: "1" } });
    assert.equal(config.current.a, "1");
  });

  test("what changed while the connection was lost comes after it, and only that", async () => {
    const engine: Engine = { ...memoryEngine(), close: async () => {} };
    const serve = (port: number) => listen(createServer({ platform: nodePlatform, engine }), { port });
    let at = await serve(0);
    const here = createConfiguration(createServer({ engine }).transport(), "default");
    await here.save({ same: "1", other: "1", gone: "1" });
    await using transport = createNodeTransport(at.url);
    await using config = await createConfiguration(transport, "default").open();
    const changes = take(config.changes(), 3);
    await at.close();
    await here.save({ same: "2", other: "2", fresh: "2" });
    await here.save({ same: "1" });
    await here.delete(["gone"]);
    at = await serve(at.port);
    assert.deepEqual((await changes).sort(), ["fresh: undefined → 2", "gone: 1 → undefined", "other: 1 → 2"]);
    await config.close();
    await at.close();
  });

  test("a connection that is cut is opened again", async () => {
    const server = createServer({ platform: nodePlatform });
    await using at = await listen(server, { port: 0 });
    await using way = await openCuttableProxy(at.port);
    await using transport = createNodeTransport(way.url);
    const here = createConfiguration(server.transport(), "default");
    await using config = await createConfiguration(transport, "default").open();
    for (let n = 1; n <= 3; n++) {
      const changes = config.changes();
      way.cut();
      await here.save({ n: String(n) });
      await take(changes, 1);
    }
    assert.equal(config.current["n"], "3");
    await config.close();
  });
});

describe("a server without extensions", () => {
  type Response = { items: { key: string; content: string }[] };
  type Stream = { queue: Queue<Response>; requests: SubscribeConfigurationRequest[]; halfClosed: boolean };

  /** As the Go runtime does it, with the ways of its stores. */
  function foreign(
    values: Map<string, string>,
    { pushesFirst = false, fails = [] as ConnectError[], answering = async () => {} } = {},
  ) {
    const streams: Stream[] = [];
    const transport = createRouterTransport(({ service }) =>
      service(Runtime, {
        sayHello: () => ({ hello: "greeting" }),
        async getConfiguration({ storeName, keys }) {
          if (storeName !== "default") {
            throw new ConnectError(`configure store [${storeName}] don't support now`, Code.Unknown);
          }
          const found = keys.length > 0 ? keys.filter((key) => values.has(key)) : [...values.keys()];
          const items = found.map((key) => ({ key, content: values.get(key) ?? "" }));
          await answering();
          return { items };
        },
        async *subscribeConfiguration(requests, { signal }) {
          const failure = fails.shift();
          if (failure) throw failure;
          const stream: Stream = { queue: new Queue(), requests: [], halfClosed: false };
          streams.push(stream);
          signal.addEventListener("abort", () => stream.queue.end());
          void (async () => {
            for await (const request of requests) {
              stream.requests.push(request);
              if (!pushesFirst) continue;
              for (const key of request.keys) {
                const content = values.get(key);
                if (content !== undefined) stream.queue.push({ items: [{ key, content }] });
              }
            }
            stream.halfClosed = true;
            stream.queue.fail(new ConnectError("EOF", Code.Unknown));
          })().catch(() => {});
          yield* stream.queue;
        },
      }),
    );
    const push = (...items: { key: string; content: string }[]) => {
      for (const { queue } of streams) queue.push({ items });
    };
    return { transport, streams, push };
  }
  const follow = (
    transport: Transport,
    options: { fallback?: Record<string, string>; pollMs?: number } = {},
  ) => createConfiguration(transport, "default").open({ keys: ["a", "b"], ...options });

  test("open() reads the values where none are pushed at first, and keeps the request side open", async () => {
    const { transport, streams, push } = foreign(new Map([["a", "1"]]));
    await using config = await follow(transport, { fallback: { b: "0" } });
    assert.deepEqual({ ...config.current }, { a: "1", b: "0" });
    const changes = take(config.changes(), 3);
    while (streams[0]?.requests.length !== 1) await new Promise((resolve) => setTimeout(resolve, 1));
    push();
    push({ key: "not asked for", content: "?" });
    push({ key: "a", content: "2" }, { key: "b", content: "2" });
    push({ key: "a", content: "2" });
    push({ key: "b", content: "" });
    assert.deepEqual(await changes, ["a: 1 → 2", "b: 0 → 2", "b: 2 → 0"]);
    assert.equal(streams[0]?.halfClosed, false);
  });

  test("values that are pushed at first are no changes", async () => {
    const values = new Map([["a", "1"]]);
    const { transport, streams, push } = foreign(values, { pushesFirst: true });
    await using config = await follow(transport);
    const changes = take(config.changes(), 1);
    while (streams[0]?.requests.length !== 1) await new Promise((resolve) => setTimeout(resolve, 1));
    push({ key: "b", content: "2" });
    assert.deepEqual(await changes, ["b: undefined → 2"]);
  });

  test("a change that no stream tells, as after another's end, is found by reading again", async () => {
    const values = new Map([["a", "1"]]);
    const { transport } = foreign(values);
    await using config = await follow(transport, { pollMs: 10 });
    const changes = config.changes();
    values.delete("a");
    values.set("b", "2");
    assert.deepEqual(await take(changes, 2), ["a: 1 → undefined", "b: undefined → 2"]);
  });

  test("what a stream tells while the values are read is newer than what was read", async () => {
    const values = new Map([["a", "1"]]);
    let answering = async () => {};
    const { transport, streams, push } = foreign(values, { answering: () => answering() });
    await using config = await follow(transport, { pollMs: 10 });
    while (streams[0]?.requests.length !== 1) await new Promise((resolve) => setTimeout(resolve, 1));
    const changes = take(config.changes(), 2);
    // What this reading answers is from before the change, and comes after it.
    answering = async () => {
      answering = async () => {};
      values.set("a", "2").set("b", "3");
      push({ key: "a", content: "2" });
      await new Promise((resolve) => setTimeout(resolve, 5));
    };
    assert.deepEqual(await changes, ["a: 1 → 2", "b: undefined → 3"]);
  });

  test("a stream that fails is opened again", async () => {
    const { transport, streams, push } = foreign(new Map(), {
      fails: [new ConnectError("EOF", Code.Unknown)],
    });
    await using config = await follow(transport);
    const changes = take(config.changes(), 1);
    while (streams[0]?.requests.length !== 1) await new Promise((resolve) => setTimeout(resolve, 1));
    push({ key: "a", content: "1" });
    assert.deepEqual(await changes, ["a: undefined → 1"]);
  });

  test("empty content is no value, also where the server keeps it", async () => {
    const { transport } = foreign(new Map([["a", ""]]));
    assert.equal((await createConfiguration(transport, "default").get()).size, 0);
    await using config = await follow(transport, { fallback: { a: "0" } });
    assert.equal(config.current["a"], "0");
  });

  test("a store that is not there is invalid_argument, as on every server", async () => {
    const { transport } = foreign(new Map());
    const store = createConfiguration(transport, "nope");
    await assert.rejects(store.get(["a"]), { code: Code.InvalidArgument });
    await assert.rejects(store.open({ fallback: {} }), { code: Code.InvalidArgument });
  });
});
