import assert from "node:assert/strict";
import { Code, ConnectError, createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createConfiguration } from "../../src/client/configuration.js";
import { Queue } from "../../src/lib/queue.js";
import { until } from "../support/until.js";

/**
 * A configuration store with the manners of the Go runtime's in-memory one: a change of a key is told to the stream that
 * asked for it last, and when any stream ends, nobody is told of anything any more.
 */
function goServer() {
  const values = new Map<string, string>();
  const told = new Map<string, Queue<{ key: string; content: string }>>();
  const seen = { streams: 0, open: 0, requests: [] as string[][] };
  const service: Partial<ServiceImpl<typeof Runtime>> = {
    getConfiguration: ({ keys }) => ({
      items: keys.filter((key) => values.has(key)).map((key) => ({ key, content: values.get(key) ?? "" })),
    }),
    saveConfiguration({ items }) {
      for (const { key, content } of items) {
        values.set(key, content);
        told.get(key)?.push({ key, content });
      }
      return {};
    },
    async *subscribeConfiguration(requests, { signal }) {
      const mine = new Queue<{ key: string; content: string }>();
      const end = () => {
        told.clear();
        mine.end();
      };
      signal.addEventListener("abort", end, { once: true });
      seen.streams++;
      seen.open++;
      void (async () => {
        for await (const { keys } of requests) {
          seen.requests.push([...keys]);
          for (const key of keys) told.set(key, mine);
        }
        mine.fail(new ConnectError("EOF", Code.Unknown));
      })().catch(() => {});
      try {
        for await (const item of mine) yield { items: [item] };
      } finally {
        seen.open--;
        end();
      }
    },
  };
  const transport = createRouterTransport(({ service: add }) => add(Runtime, service));
  return { transport, store: createConfiguration(transport, "default"), seen };
}

/** Only what is told counts: nothing is read again while a test lasts. */
const seldom = { pollMs: 600_000 };

test("two open configurations of one key are both told of its changes, over one stream", async () => {
  const { store, transport, seen } = goServer();
  await store.save({ a: "1", b: "1" });
  await using first = await store.open({ keys: ["a"], ...seldom });
  await until(() => seen.requests.length === 1);
  await using second = await createConfiguration(transport, "default").open({ keys: ["a", "b"], ...seldom });
  await until(() => seen.requests.length === 2);
  await store.save({ a: "2" });
  await until(() => first.current["a"] === "2" && second.current.a === "2");
  await store.save({ b: "2" });
  await until(() => second.current.b === "2");
  assert.deepEqual({ ...first.current }, { a: "2" });
  assert.deepEqual([seen.streams, seen.open], [1, 1]);
});

test("one that closes takes nothing from the other, and the last one ends the stream", async () => {
  const { store, seen } = goServer();
  await store.save({ a: "1" });
  const first = await store.open({ keys: ["a"], ...seldom });
  await until(() => seen.requests.length === 1);
  const second = await store.open({ keys: ["a"], ...seldom });
  await until(() => seen.requests.length === 2);
  await first.close();
  await store.save({ a: "2" });
  await until(() => second.current.a === "2");
  assert.equal(first.current.a, "1");
  assert.equal(seen.open, 1);
  await second.close();
  await until(() => seen.open === 0);
  await using third = await store.open({ keys: ["a"], ...seldom });
  await until(() => seen.requests.length === 3);
  await store.save({ a: "3" });
  await until(() => third.current.a === "3");
  assert.equal(seen.streams, 2);
});

test("what another client's stream takes from them is found by reading again", async () => {
  const { store, transport, seen } = goServer();
  await store.save({ a: "1" });
  await using config = await store.open({ keys: ["a"], pollMs: 20 });
  await until(() => seen.requests.length === 1);
  // Headers of its own make it a stream of its own, as that of another client is.
  const other = await createConfiguration(transport, "default").open({
    keys: ["a"],
    headers: { x: "1" },
    ...seldom,
  });
  await until(() => seen.requests.length === 2);
  assert.equal(seen.streams, 2);
  await other.close();
  await store.save({ a: "2" });
  await until(() => config.current.a === "2");
});
