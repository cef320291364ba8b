import assert from "node:assert/strict";
import { setTimeout as later } from "node:timers/promises";
import { Code, createClient, type Interceptor } from "@connectrpc/connect";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { nodePlatform } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { createTransportOver } from "../../src/transport/tunnel.js";
import { createSocketPair } from "../../src/tunnel/socket/pair.js";
import { overHttp } from "../support/protocols.js";

const storeName = "default";
const large = { key: "large", value: new Uint8Array(4_000_000) };

for (const protocol of ["connect", "grpc"] as const) {
  test(`a connection works after many canceled calls, by ${protocol}`, async () => {
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

test("the error of a handler whose caller has left is dropped, and does not end the process", async () => {
  const lost: unknown[] = [];
  const note = (reason: unknown) => void lost.push(reason);
  process.on("unhandledRejection", note);
  try {
    const leave = new AbortController();
    // The response passes the interceptors when the caller leaves.
    const slow: Interceptor = (next) => async (request) => {
      const response = await next(request);
      leave.abort();
      await later(50);
      return response;
    };
    await using server = createServer({ platform: nodePlatform, interceptors: [slow] });
    const { ends } = createSocketPair();
    server.tunnels.accept(ends[0]);
    await using transport = createTransportOver("http://here", async () => ends[1]);
    const runtime = createClient(Runtime, transport);
    const nameless = (async function* () {
      yield { data: new Uint8Array(1) };
    })();
    await assert.rejects(runtime.putFile(nameless, { signal: leave.signal }), { code: Code.Canceled });
    await later(100);
    assert.deepEqual(lost, []);
  } finally {
    process.off("unhandledRejection", note);
  }
});
