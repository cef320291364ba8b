import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { lazyChunk, lazyTransport } from "../../src/client/lazy.js";
import { createClient } from "../../src/index.js";
import { inProcess } from "../../src/server/index.js";

test("code that cannot be loaded is unavailable, with the error as its cause", async () => {
  const reason = new TypeError("Failed to fetch dynamically imported module");
  await assert.rejects(
    lazyChunk(() => Promise.reject(reason)),
    (error) => {
      assert.ok(error instanceof ConnectError);
      assert.equal(error.code, Code.Unavailable);
      assert.equal(error.cause, reason);
      return true;
    },
  );
});

test("a transport whose code could not be loaded is loaded again by the next call", async () => {
  const there = inProcess();
  let loads = 0;
  const transport = lazyTransport(async () => {
    if (++loads === 1) await lazyChunk(() => Promise.reject(new TypeError("offline")));
    return there;
  });
  const hello = createClient(transport, { retry: false }).hello();
  await assert.rejects(hello.say("Ada"), { code: Code.Unavailable });
  assert.equal(await hello.say("Ada"), "Hello, Ada");
  assert.equal(await hello.say("Bob"), "Hello, Bob");
  assert.equal(loads, 2);
});

test("raw.runtime has every RPC of the Runtime service", async () => {
  const { runtime } = createClient(inProcess()).raw;
  const names = Runtime.methods.map(({ localName }) => localName);
  assert.deepEqual(Object.keys(runtime).sort(), names.sort());
  assert.equal((await runtime.sayHello({ serviceName: "helloworld", name: "Ada" })).hello, "Hello, Ada");
  await runtime.saveState({ storeName: "default", states: [{ key: "k", value: new Uint8Array([1]) }] });
  await runtime.deleteBulkState({ storeName: "default", states: [{ key: "k" }] });
  assert.equal((await runtime.getState({ storeName: "default", key: "k" })).data.length, 0);
});

test("the first call writes the value at the time of the call, although its code is loaded later", async () => {
  await using fl = createClient(inProcess());
  const value = { seat: 1 };
  const put = fl.map<{ seat: number }>("seats").put("a", value);
  const items = { theme: "light" };
  const saved = fl.configuration().save(items);
  const states = fl.state<{ seat: number }>().set("a", value);
  value.seat = 2;
  items.theme = "dark";
  await Promise.all([put, saved, states]);
  assert.equal((await fl.map<{ seat: number }>("seats").get("a"))?.value.seat, 1);
  assert.equal((await fl.state<{ seat: number }>().get("a"))?.value.seat, 1);
  assert.equal((await fl.configuration().get(["theme"])).get("theme")?.content, "light");
});
