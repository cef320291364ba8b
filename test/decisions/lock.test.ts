import assert from "node:assert/strict";
import { Code, createClient } from "@connectrpc/connect";
import { test, vi } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { sleep } from "../../src/rpc/sleep.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { openInProcess } from "../support/protocols.js";
import { failure } from "./failure.js";

const storeName = "default";

test("the engine is away: unavailable for a lock, with how long to wait", async () => {
  const engine = memoryEngine();
  await using at = await openInProcess({ engine });
  const runtime = createClient(Runtime, at.transport);
  const claim = { storeName, resourceId: "r", lockOwner: "ada", expire: 1 };
  await engine.close();
  for (const call of [runtime.tryLock, runtime.unlock, runtime.lockKeepAlive]) {
    const error = await failure(call(claim));
    assert.equal(error.code, Code.Unavailable);
    assert.ok(error.findDetails(RetryInfoSchema)[0]?.retryDelay);
  }
});

test("lease time: a wall clock that is set forward or back ends no lease early and lengthens none", async () => {
  await using at = await openInProcess();
  const runtime = createClient(Runtime, at.transport);
  const claim = { storeName, resourceId: "r", expire: 1 };
  const takes = async (lockOwner: string) => (await runtime.tryLock({ ...claim, lockOwner })).success;
  try {
    assert.equal(await takes("ada"), true);
    for (const jumpMs of [10_000, -3_600_000]) {
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + jumpMs });
      assert.equal(await takes("bob"), false);
      vi.useRealTimers();
    }
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - 3_600_000 });
    await sleep(1100);
    assert.equal(await takes("bob"), true);
  } finally {
    vi.useRealTimers();
  }
});
