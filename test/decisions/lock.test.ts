import assert from "node:assert/strict";
import { Code, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { openHere } from "../doors.js";
import { failure } from "./failure.js";

const storeName = "default";

test("the engine is away: unavailable for a lock, with how long to wait", async () => {
  const engine = memoryEngine();
  await using at = await openHere({ engine });
  const runtime = createClient(Runtime, at.transport);
  const claim = { storeName, resourceId: "r", lockOwner: "ada", expire: 1 };
  await engine.close();
  for (const call of [runtime.tryLock, runtime.unlock, runtime.lockKeepAlive]) {
    const error = await failure(call(claim));
    assert.equal(error.code, Code.Unavailable);
    assert.ok(error.findDetails(RetryInfoSchema)[0]?.retryDelay);
  }
});
