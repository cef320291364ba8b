import assert from "node:assert/strict";
import { Code, createClient, type Transport } from "@connectrpc/connect";
import fc from "fast-check";
import { test } from "vitest";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import {
  type ConfigurationItem,
  Runtime,
  type SubscribeConfigurationResponse,
} from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { Queue } from "../../src/internal/queue.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import type { ServerOptions } from "../../src/server/server.js";
import { openHere } from "../doors.js";
import { failure } from "./failure.js";

const storeName = "default";
const two = { configuration: { default: {}, other: {} } };

async function open(options?: ServerOptions) {
  const at = await openHere(options);
  return { ...calls(at.transport), server: at.server, [Symbol.asyncDispose]: at[Symbol.asyncDispose] };
}

type Asked = { storeName: string; appId?: string; group?: string; label?: string; keys?: string[] };

function calls(transport: Transport) {
  const runtime = createClient(Runtime, transport);
  const save = (items: Record<string, string>, place: Partial<Asked> = {}) => {
    const { group, label, ...store } = place;
    const all = Object.entries(items).map(([key, content]) => ({ key, content, group, label }));
    return runtime.saveConfiguration({ storeName, ...store, items: all });
  };
  const remove = (keys: string[]) => runtime.deleteConfiguration({ storeName, keys });
  const get = async (place: Partial<Asked> = {}) => {
    const { items } = await runtime.getConfiguration({ storeName, ...place });
    return Object.fromEntries(items.map(({ key, content }) => [key, content]));
  };
  return { runtime, save, remove, get, subscribe: (first?: Asked) => subscribe(runtime, first) };
}

/** A subscription whose requests a test sends as it likes. */
function subscribe(runtime: ReturnType<typeof calls>["runtime"], first?: Asked) {
  const requests = new Queue<Asked>();
  const leave = new AbortController();
  const responses = runtime
    .subscribeConfiguration(requests, { signal: leave.signal })
    [Symbol.asyncIterator]();
  if (first) requests.push(first);
  return {
    ask: (request: Asked) => requests.push(request),
    halfClose: () => requests.end(),
    async next(): Promise<SubscribeConfigurationResponse> {
      const { value, done } = await responses.next();
      assert.ok(!done, "the stream ended");
      return value;
    },
    /** The items of the next response, as "key: content". */
    async items(): Promise<string[]> {
      return (await this.next()).items.map(shown);
    },
    leave: () => leave.abort(),
    [Symbol.dispose]: () => leave.abort(),
  };
}

const shown = ({ key, content, metadata }: ConfigurationItem): string =>
  `${key}: ${metadata["deleted"] === "true" ? "deleted" : content}`;

test("configuration identity: (app_id, group, label, key), with `default` for group and label", async () => {
  await using at = await open({ config: two });
  const places: Partial<Asked>[] = [
    {},
    { storeName: "other" },
    { appId: "a" },
    { group: "g" },
    { label: "l" },
    { group: "g", label: "l" },
    { appId: "a", group: "g" },
  ];
  for (const [i, place] of places.entries()) await at.save({ k: String(i) }, place);
  for (const [i, place] of places.entries()) assert.deepEqual(await at.get(place), { k: String(i) });
  assert.deepEqual(await at.get({ group: "default", label: "default" }), { k: "0" });
  const { items } = await at.runtime.getConfiguration({ storeName, keys: ["k"] });
  assert.deepEqual([items[0]?.group, items[0]?.label], ["default", "default"]);
});

test("configuration identity: keys are exact, also where one begins as another, and may hold anything", async () => {
  await using at = await open();
  const odd = { "a\u0000b": "1", "a||b": "2", ключ: "3", a: "4", ab: "5" };
  await at.save(odd);
  assert.deepEqual(await at.get(), odd);
  await at.remove(["a", "missing", "a"]);
  const { a: _, ...rest } = odd;
  assert.deepEqual(await at.get(), rest);
  const { items } = await at.runtime.getConfiguration({ storeName, keys: ["ключ", "none", "ab", "ключ"] });
  assert.deepEqual(items.map(shown), ["ключ: 3", "ab: 5"]);
  await at.remove([]);
  assert.deepEqual(await at.get(), rest);
});

test("configuration identity: SaveConfiguration with empty content deletes", async () => {
  await using at = await open();
  await at.save({ a: "1", b: "1" });
  await at.save({ a: "", b: "2", c: "" });
  assert.deepEqual(await at.get(), { b: "2" });
  await at.runtime.saveConfiguration({
    storeName,
    items: [
      { key: "d", content: "" },
      { key: "d", content: "last" },
      { key: "b", content: "3" },
      { key: "b", content: "" },
    ],
  });
  assert.deepEqual(await at.get(), { d: "last" });
});

test("a required field is empty, an enum number or a number is out of range, a name is malformed: in configuration too, and nothing of the batch is saved", async () => {
  await using at = await open();
  const wrong: [call: Promise<unknown>, field: string][] = [
    [at.runtime.getConfiguration({ storeName: "" }), "store_name"],
    [at.runtime.getConfiguration({ storeName, group: "a\u0000b" }), "group"],
    [at.runtime.getConfiguration({ storeName, label: "a\nb" }), "label"],
    [at.runtime.getConfiguration({ storeName, appId: "\u007f" }), "app_id"],
    [at.runtime.getConfiguration({ storeName, keys: ["a", ""] }), "keys[1]"],
    [at.runtime.saveConfiguration({ storeName }), "items"],
    [at.save({ a: "1", "": "2" }), "items[1].key"],
    [at.save({ a: "1" }, { group: "\u0000" }), "items[0].group"],
    [at.runtime.deleteConfiguration({ storeName, keys: [""] }), "keys[0]"],
    [at.subscribe({ storeName, keys: [""] }).next(), "keys[0]"],
    [at.subscribe({ storeName, group: "\u0000" }).next(), "group"],
  ];
  for (const [call, field] of wrong) {
    const error = await failure(call);
    assert.equal(error.code, Code.InvalidArgument, field);
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, field);
  }
  assert.deepEqual(await at.get(), {});
});

test("unknown store, pubsub, binding, hello or app: each configuration RPC names the stores that there are", async () => {
  await using at = await open();
  const nope = { storeName: "nope", keys: ["k"] };
  const items = [{ key: "k", content: "1" }];
  for (const call of [
    at.runtime.getConfiguration(nope),
    at.runtime.saveConfiguration({ storeName: "nope", items }),
    at.runtime.deleteConfiguration(nope),
    at.subscribe(nope).next(),
  ]) {
    const error = await failure(call);
    assert.equal(error.code, Code.InvalidArgument);
    assert.equal(error.rawMessage, 'configuration store "nope" is not configured; configured: "default"');
  }
});

test("a limit is hit: on items, keys, values, answers and what one stream follows", async () => {
  const limits = {
    keyBytes: 10,
    valueBytes: 100,
    batchItems: 3,
    messageBytes: 300,
    subscriptionKeys: 4,
    subscriptionGroups: 2,
  };
  await using at = await open({ config: { limits } });
  const limitOf = async (call: Promise<unknown>) => {
    const error = await failure(call);
    assert.equal(error.code, Code.ResourceExhausted);
    return error.findDetails(ErrorInfoSchema)[0]?.metadata["limit"];
  };
  assert.equal(await limitOf(at.save({ ["k".repeat(11)]: "1" })), "keyBytes");
  assert.equal(await limitOf(at.save({ k: "v".repeat(101) })), "valueBytes");
  const item = { key: "k", content: "v" };
  for (const large of [{ tags: { t: "x".repeat(100) } }, { metadata: { ["m".repeat(99)]: "xx" } }]) {
    const items = [{ ...item, ...large }];
    assert.equal(await limitOf(at.runtime.saveConfiguration({ storeName, items })), "valueBytes");
  }
  assert.equal(await limitOf(at.save({ a: "1", b: "1", c: "1", d: "1" })), "batchItems");
  const keys = ["a", "b", "c", "d"];
  for (const key of keys) await at.save({ [key]: "x".repeat(90) });
  assert.equal(await limitOf(at.get()), "messageBytes");
  assert.equal(await limitOf(at.subscribe({ storeName }).next()), "messageBytes");
  assert.equal(Object.keys(await at.get({ keys: ["a", "b"] })).length, 2);

  using many = at.subscribe({ storeName, keys: ["1", "2", "3"] });
  many.ask({ storeName, keys: ["2", "3", "4"] });
  many.ask({ storeName, group: "g", keys: ["5"] });
  await many.next();
  await many.next();
  assert.equal(await limitOf(many.next()), "subscriptionKeys");
  using wide = at.subscribe({ storeName, group: "a" });
  for (const group of ["a", "b", "a", "b", "c"]) wide.ask({ storeName, group });
  for (let n = 0; n < 5; n++) await wide.next();
  assert.equal(await limitOf(wide.next()), "subscriptionGroups");
});

test("SubscribeConfiguration: current values come first, then every change", async () => {
  await using at = await open();
  await at.save({ a: "1", b: "1", c: "1" });
  using stream = at.subscribe({ storeName, appId: "", keys: ["b", "a", "none"] });
  const first = await stream.next();
  assert.deepEqual([first.storeName, first.items.map(shown)], ["default", ["b: 1", "a: 1"]]);
  for (const content of ["2", "3", "4"]) await at.save({ a: content, c: content });
  for (const content of ["2", "3", "4"]) assert.deepEqual(await stream.items(), [`a: ${content}`]);
});

test("SubscribeConfiguration: each request adds keys (none = whole group), of any store and group", async () => {
  await using at = await open({ config: two });
  await at.save({ a: "1", b: "1" });
  await at.save({ a: "other" }, { storeName: "other", appId: "app", group: "g", label: "l" });
  using stream = at.subscribe({ storeName, keys: ["a"] });
  assert.deepEqual(await stream.items(), ["a: 1"]);
  await at.save({ b: "not yet" });
  stream.ask({ storeName, keys: ["b"] });
  assert.deepEqual(await stream.items(), ["b: not yet"]);
  await at.save({ a: "2" });
  assert.deepEqual(await stream.items(), ["a: 2"]);
  stream.ask({ storeName: "other", appId: "app", group: "g", label: "l" });
  const other = await stream.next();
  assert.deepEqual(
    [other.storeName, other.appId, other.items[0]?.group, other.items[0]?.label, other.items.map(shown)],
    ["other", "app", "g", "l", ["a: other"]],
  );
  await at.save({ fresh: "1" }, { storeName: "other", appId: "app", group: "g", label: "l" });
  assert.deepEqual(await stream.items(), ["fresh: 1"]);
  stream.ask({ storeName });
  assert.deepEqual(await stream.items(), ["a: 2", "b: not yet"]);
  await at.save({ later: "1" });
  assert.deepEqual(await stream.items(), ["later: 1"]);
  stream.ask({ storeName, group: "empty" });
  assert.deepEqual(await stream.items(), []);
});

test('SubscribeConfiguration: a deletion is the item with empty content and metadata `deleted: "true"`', async () => {
  await using at = await open();
  await at.save({ a: "1", b: "1" });
  using stream = at.subscribe({ storeName });
  await stream.next();
  await at.remove(["a", "never there"]);
  await at.save({ b: "" });
  await at.save({ a: "again" });
  const { items } = await stream.next();
  assert.deepEqual(
    items.map(({ key, content, group, label, metadata }) => [key, content, group, label, { ...metadata }]),
    [["a", "", "default", "default", { deleted: "true" }]],
  );
  assert.deepEqual(await stream.items(), ["b: deleted"]);
  assert.deepEqual(await stream.items(), ["a: again"]);
});

test("SubscribeConfiguration: half-close keeps the subscription until the client cancels", async () => {
  await using at = await open();
  using stream = at.subscribe({ storeName, keys: ["a"] });
  stream.halfClose();
  assert.deepEqual(await stream.items(), []);
  await at.save({ a: "1" });
  assert.deepEqual(await stream.items(), ["a: 1"]);
  await at.save({ a: "2" });
  assert.deepEqual(await stream.items(), ["a: 2"]);
  const next = failure(stream.next());
  stream.leave();
  assert.equal((await next).code, Code.Canceled);
});

test("SubscribeConfiguration: one stream's end touches no other", async () => {
  await using at = await open();
  const streams = [1, 2, 3, 4].map(() => at.subscribe({ storeName, keys: ["a"] }));
  const [one, two, three, four] = streams as [Stream, Stream, Stream, Stream];
  for (const stream of streams) await stream.next();
  one.leave();
  two.ask({ storeName: "nope" });
  assert.equal((await failure(two.next())).code, Code.InvalidArgument);
  three.halfClose();
  await at.save({ a: "1" });
  assert.deepEqual(await three.items(), ["a: 1"]);
  assert.deepEqual(await four.items(), ["a: 1"]);
  three.leave();
  await at.save({ a: "2" });
  assert.deepEqual(await four.items(), ["a: 2"]);
  four.leave();
});

type Stream = ReturnType<typeof subscribe>;

test("SubscribeConfiguration: one that reads slowly is told the last value of each key, and holds no one up", async () => {
  await using at = await open();
  using stream = at.subscribe({ storeName });
  await stream.next();
  for (let n = 1; n <= 1300; n++) await at.save({ k: String(n) });
  let responses = 0;
  for (let last = ""; last !== "k: 1300"; responses++) last = (await stream.items()).at(-1) ?? "";
  assert.ok(responses < 1100, `${responses}`);
});

test("SubscribeConfiguration: changes that the current values have in them already are not told again", async () => {
  const engine = memoryEngine();
  let read = () => {};
  const gate = new Promise<void>((resolve) => {
    read = resolve;
  });
  const { list } = engine.keys;
  engine.keys.list = async function* (prefix, after) {
    await gate;
    yield* list.call(engine.keys, prefix, after);
  };
  await using at = await open({ engine });
  await at.save({ gone: "1" });
  using stream = at.subscribe({ storeName });
  const first = stream.items();
  await new Promise((resolve) => setTimeout(resolve, 5));
  await at.save({ a: "1" });
  await at.remove(["a", "gone"]);
  await at.save({ a: "2" });
  await at.save({ a: "3" });
  read();
  assert.deepEqual(await first, ["a: 3"]);
  await at.save({ done: "yes" });
  assert.deepEqual(await stream.items(), ["done: yes"]);
});

test("SubscribeConfiguration: whatever is written while it begins, the subscriber ends with what is there", async () => {
  const key = fc.constantFrom("a", "b", "c");
  const write = fc.record({ key, content: fc.constantFrom("", "1", "2", "3"), before: fc.nat({ max: 3 }) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(write, { minLength: 1, maxLength: 30 }),
      fc.nat({ max: 30 }),
      async (writes, from) => {
        await using at = await open();
        let stream: Stream | undefined;
        const saving = (async () => {
          for (const [i, { key, content, before }] of writes.entries()) {
            for (let turn = 0; turn < before; turn++) await Promise.resolve();
            const saved = at.save({ [key]: content });
            if (i === from) stream = at.subscribe({ storeName });
            if (before > 0) await saved;
          }
        })();
        await saving;
        stream ??= at.subscribe({ storeName });
        await at.save({ done: "yes" });
        const told = new Map<string, string>();
        while (!told.has("done")) {
          for (const { key, content, metadata } of (await stream.next()).items) {
            assert.equal(metadata["deleted"] === "true", content === "");
            if (content === "") told.delete(key);
            else told.set(key, content);
          }
        }
        assert.deepEqual(Object.fromEntries([...told].sort()), await at.get());
        stream.leave();
      },
    ),
    { numRuns: 60 },
  );
});

test("the engine is away: unavailable, retryable, also for subscribers when the server closes", async () => {
  await using at = await open();
  using idle = at.subscribe();
  using stream = at.subscribe({ storeName });
  await stream.next();
  const ended = [failure(stream.next()), failure(idle.next())];
  await new Promise((resolve) => setTimeout(resolve, 5));
  await at.server.close();
  for (const error of [...(await Promise.all(ended)), await failure(at.get())]) {
    assert.equal(error.code, Code.Unavailable);
    assert.equal(error.findDetails(RetryInfoSchema).length, 1);
  }
  const engine = memoryEngine();
  await using other = await open({ engine });
  using following = other.subscribe({ storeName });
  await following.next();
  const next = failure(following.next());
  await engine.close();
  assert.equal((await next).code, Code.Unavailable);
});
