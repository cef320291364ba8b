import assert from "node:assert/strict";
import { Code, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { isExhausted, retryAfterMs } from "../../src/index.js";
import { EngineFault, memoryEngine } from "../../src/server/index.js";
import { failure } from "../decisions/failure.js";
import { openInProcess } from "../support/protocols.js";

/** The error of a write to a server whose engine refuses it with `fault`. */
async function writeError(fault: EngineFault) {
  const engine = memoryEngine();
  const keys = Object.assign(Object.create(engine.keys), { commit: () => Promise.reject(fault) });
  await using at = await openInProcess({ engine: { ...engine, keys } });
  const runtime = createClient(Runtime, at.transport);
  const error = await failure(runtime.saveState({ storeName: "default", states: [{ key: "k" }] }));
  const [info] = error.findDetails(ErrorInfoSchema);
  return { error, reason: info?.reason, metadata: info?.metadata, delayMs: retryAfterMs(error) };
}

test("a full disk: resource_exhausted without a limit, and no time at which to retry", async () => {
  const { error, reason, metadata, delayMs } = await writeError(new EngineFault("full", "the disk is full"));
  assert.equal(error.rawMessage, "the disk is full");
  assert.ok(isExhausted(error));
  assert.deepEqual([reason, metadata, delayMs], ["STORAGE_FULL", {}, undefined]);
});

test("a bound of the engine that is reached: resource_exhausted, naming the bound", async () => {
  const limit = { name: "maxBytes", most: 10 };
  const { error, reason, metadata, delayMs } = await writeError(new EngineFault("full", "too much", limit));
  assert.equal(error.rawMessage, "limit maxBytes 10: too much");
  assert.ok(isExhausted(error));
  assert.deepEqual([reason, metadata, delayMs], ["LIMIT", { limit: "maxBytes", most: "10" }, undefined]);
});

test("an engine that is unavailable: unavailable, with a time at which to retry", async () => {
  const { error, reason, delayMs } = await writeError(new EngineFault("unavailable", "the engine is away"));
  assert.equal(error.code, Code.Unavailable);
  assert.deepEqual([reason, delayMs], ["UNAVAILABLE", 500]);
});
