import assert from "node:assert/strict";
import { Code, type Interceptor } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { createClient } from "../../../src/index.js";
import { createNodeTransport } from "../../../src/node.js";
import { sleep } from "../../../src/rpc/sleep.js";
import { createServer } from "../../../src/server/index.js";
import { listen, nodePlatform } from "../../../src/server/node.js";
import { failure } from "../../decisions/failure.js";
import { openCuttableProxy } from "../../support/cuttable-proxy.js";
import { until } from "../../support/until.js";

/** The writes of a call that must not be made twice, by the name of its method. */
const writes = {
  GetNextId: (fl: ReturnType<typeof createClient>) =>
    fl.raw.runtime.getNextId({ storeName: "default", key: "k" }),
  Produce: (fl: ReturnType<typeof createClient>) => fl.log().append(["a", "b"]),
};

/** A server behind a proxy that has processed calls of `method`, and withholds their answers. */
async function openServer(method: string) {
  let processed = 0;
  const withhold: Interceptor = (next) => async (request) => {
    const response = await next(request);
    if (request.method.name !== method) return response;
    processed++;
    return new Promise((_, reject) => request.signal.addEventListener("abort", reject));
  };
  const at = await listen(createServer({ platform: nodePlatform, interceptors: [withhold] }), { port: 0 });
  const way = await openCuttableProxy(at.port);
  return {
    way,
    processed: () => processed,
    async [Symbol.asyncDispose]() {
      await way[Symbol.asyncDispose]();
      await at.close();
    },
  };
}

/** Looks at errors for a while, so that other calls of a lost connection come to their ends before. */
const slow: Interceptor = (next) => async (request) => {
  try {
    return await next(request);
  } catch (error) {
    if (request.method.name in writes) await sleep(50);
    throw error;
  }
};

// A server that is stopped, or whose network drops everything, fails without a sign. What it was sent, it may process.
describe.concurrent("a server that falls silent", () => {
  for (const protocol of ["connect", "grpc", "grpc-web"] as const) {
    for (const [method, write] of Object.entries(writes)) {
      test(`gets a ${method} once over ${protocol}: no other server gets it`, {
        timeout: 20_000,
      }, async () => {
        await using a = await openServer(method);
        await using b = await openServer(method);
        await using transport = createNodeTransport([a.way.url, b.way.url], {
          protocol,
          interceptors: [slow],
        });
        const fl = createClient(transport, { closeTransport: false });
        const processed = () => a.processed() + b.processed();
        const outcome = failure(write(fl));
        await until(() => processed() === 1);
        (a.processed() > 0 ? a : b).way.impair({ bytesPerSecond: 0 });
        // A call that ends at its deadline lets the next one check whether the server is still there.
        const late = await failure(fl.hello().say("x", { timeoutMs: 1200 }));
        assert.equal(late.code, Code.DeadlineExceeded);
        await fl.hello().say("x", { timeoutMs: 10_000 });
        const { code, rawMessage } = await outcome;
        assert.deepEqual([code, /lost/.test(rawMessage)], [Code.Unavailable, true], rawMessage);
        assert.equal(processed(), 1);
      });
    }
  }
});
