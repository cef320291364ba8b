import assert from "node:assert/strict";
import { setTimeout as later } from "node:timers/promises";
import { Code, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { Runtime } from "../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createNodeTransport } from "../src/transport/node.js";
import { overHttp } from "./doors.js";

const storeName = "default";
const large = { key: "large", value: new Uint8Array(4 * 1024 ** 2) };

for (const protocol of ["connect", "grpc"] as const) {
  test(`a connection goes on after many calls that were given up, by ${protocol}`, async () => {
    await using at = await overHttp((url) => createNodeTransport(url, { protocol }))();
    const runtime = createClient(Runtime, at.transport);
    await runtime.saveState({ storeName, states: [large] });
    for (let i = 0; i < 12; i++) {
      const leave = new AbortController();
      const { signal } = leave;
      const calls = [
        runtime.getState({ storeName, key: "large" }, { signal }),
        runtime.saveState({ storeName, states: [large] }, { signal }),
      ];
      await later(4);
      leave.abort();
      for (const { status, ...rest } of await Promise.allSettled(calls)) {
        if (status === "rejected")
          assert.equal((rest as { reason: { code: Code } }).reason.code, Code.Canceled);
      }
    }
    assert.equal((await runtime.getState({ storeName, key: "missing" })).etag, "");
  });
}
