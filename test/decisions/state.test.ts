import assert from "node:assert/strict";
import { Code, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { silent } from "../../src/server/context.js";
import { openInProcess } from "../support/protocols.js";
import { failure } from "./failure.js";

const storeName = "default";

test("a limit is hit (message, key or value size, open streams, rate): resource_exhausted, naming the limit", async () => {
  await using at = await openInProcess({
    config: { limits: { valueBytes: 10, batchItems: 2, messageBytes: 5000 } },
  });
  const runtime = createClient(Runtime, at.transport);
  const item = (key: string, size = 0) => ({ key, value: new Uint8Array(size) });
  const cases: [Promise<unknown>, RegExp][] = [
    [runtime.getState({ storeName, key: "k".repeat(1025) }), /keyBytes 1024/],
    [runtime.saveState({ storeName, states: [item("k", 11)] }), /valueBytes 10/],
    [runtime.saveState({ storeName, states: [item("a"), item("b"), item("c")] }), /batchItems 2/],
    [runtime.saveState({ storeName, states: [item("k", 6000)] }), /5000/],
  ];
  for (const [call, named] of cases) {
    const error = await failure(call);
    assert.equal(error.code, Code.ResourceExhausted);
    assert.match(error.rawMessage, named);
  }
});

test("the engine is away: unavailable, retryable; detail RetryInfo", async () => {
  const at = await openInProcess();
  const runtime = createClient(Runtime, at.transport);
  await at.server.close();
  const error = await failure(runtime.getState({ storeName, key: "k" }));
  assert.equal(error.code, Code.Unavailable);
  const { RetryInfoSchema } = await import("../../gen/google/rpc/error_details_pb.js");
  assert.equal(error.findDetails(RetryInfoSchema)[0]?.retryDelay?.nanos, 500_000_000);
});

test("anything else: internal, logged on the server with its cause; never a stack or a path in the message", async () => {
  const { memoryEngine } = await import("../../src/server/engines/memory.js");
  const engine = memoryEngine();
  const logged: object[] = [];
  const broken = new Error("ENOENT /var/secret");
  await using at = await openInProcess({
    engine: {
      ...engine,
      keys: Object.assign(Object.create(engine.keys), { get: () => Promise.reject(broken) }),
    },
    log: { ...silent, error: (fields) => logged.push(fields) },
  });
  const error = await failure(createClient(Runtime, at.transport).getState({ storeName, key: "k" }));
  assert.equal(error.code, Code.Internal);
  assert.doesNotMatch(error.rawMessage, /ENOENT|secret|at /);
  const reqId = error.metadata.get("fairlead-request-id");
  assert.ok(reqId && error.rawMessage.includes(reqId));
  assert.deepEqual(logged, [{ reqId, method: "spec.proto.runtime.v1.Runtime/GetState", err: broken }]);
});
