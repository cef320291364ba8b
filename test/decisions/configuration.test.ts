import assert from "node:assert/strict";
import { Code, createClient, type Transport } from "@connectrpc/connect";
import fc from "fast-check";
import { test } from "vitest";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import {
  type ConfigurationItem,
  Runtime,
  type SubscribeConfigurationResponse,
} from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { Queue } from "../../src/lib/queue.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import type { ServerOptions } from "../../src/server/server.js";
import { openInProcess } from "../support/protocols.js";
import { failure } from "./failure.js";

const storeName = "default";

async function open(options?: ServerOptions) {
  const at = await openInProcess(options);
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
    .subscribeConfiguration(requests, { signal: leave.signal, headers: { "fairlead-initial": "true" } })
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

type Stream = ReturnType<typeof subscribe>;

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
        const saves: Promise<unknown>[] = [];
        const saving = (async () => {
          for (const [i, { key, content, before }] of writes.entries()) {
            for (let turn = 0; turn < before; turn++) await Promise.resolve();
            const saved = at.save({ [key]: content });
            saves.push(saved);
            if (i === from) stream = at.subscribe({ storeName });
            if (before > 0) await saved;
          }
        })();
        await saving;
        await Promise.all(saves);
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
