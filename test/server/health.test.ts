import assert from "node:assert/strict";
import { Code, type ConnectError, createClient as createRaw } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/grpc/health/v1/health_pb.js";
import { type Engine, EngineFault, memoryEngine } from "../../src/server/index.js";
import { forEachProtocol, openInProcess } from "../support/protocols.js";

/** An engine that can become unavailable: reads of keys then fail or never end. */
function failingEngine(): {
  engine: Engine;
  leave(how: "fails" | "hangs"): void;
  comeBack(): void;
  asked: () => number;
} {
  const engine = memoryEngine();
  let gone: "fails" | "hangs" | undefined;
  let asked = 0;
  const keys: Engine["keys"] = {
    get: (key) => {
      asked += 1;
      if (gone === "hangs") return new Promise(() => {});
      if (gone === "fails") return Promise.reject(new EngineFault("unavailable", "the engine is away"));
      return engine.keys.get(key);
    },
    getMany: (names) => engine.keys.getMany(names),
    commit: (writes) => engine.keys.commit(writes),
    list: (prefix, after) => engine.keys.list(prefix, after),
    watch: (prefix, signal) => engine.keys.watch(prefix, signal),
  };
  return {
    engine: { ...engine, name: "test", keys, close: () => engine.close() },
    leave: (how) => {
      gone = how;
    },
    comeBack: () => {
      gone = undefined;
    },
    asked: () => asked,
  };
}

const RUNTIME = "spec.proto.runtime.v1.Runtime";
const LIFECYCLE = "spec.proto.runtime.v1.Lifecycle";

forEachProtocol("download", (open) => {
  test("Check, List and Watch report each service and the whole server", async () => {
    await using at = await open();
    const health = createRaw(Health, at.transport);
    for (const service of ["", RUNTIME, LIFECYCLE, "atomix.log.LogService", "grpc.health.v1.Health"]) {
      assert.equal((await health.check({ service })).status, Status.SERVING, service);
    }
    const { statuses } = await health.list({});
    assert.equal(Object.keys(statuses).length, 9);
    assert.ok(Object.values(statuses).every(({ status }) => status === Status.SERVING));
    const unknown = await health
      .check({ service: "no.Such" })
      .catch((error: unknown) => error as ConnectError);
    assert.equal((unknown as ConnectError).code, Code.NotFound);
    const seen: Status[] = [];
    const watching = (async () => {
      for await (const { status } of health.watch({ service: RUNTIME })) {
        seen.push(status);
        if (seen.length === 1) at.server.endStreams();
      }
    })().catch((error: unknown) => error as ConnectError);
    assert.equal(((await watching) as ConnectError).code, Code.Unavailable);
    // Without a socket, the end of the stream overtakes the messages before it.
    if (at.url) assert.deepEqual(seen, [Status.SERVING, Status.NOT_SERVING]);
  });
});

test("Watch reports SERVICE_UNKNOWN for unknown services, and stays open until the client leaves", async () => {
  await using at = await openInProcess();
  const left = new AbortController();
  const answers = createRaw(Health, at.transport)
    .watch({ service: "no.Such" }, { signal: left.signal })
    [Symbol.asyncIterator]();
  assert.equal((await answers.next()).value?.status, Status.SERVICE_UNKNOWN);
  const next = answers.next().catch((error: unknown) => error as ConnectError);
  left.abort();
  assert.equal(((await next) as ConnectError).code, Code.Canceled);
});

test("Watch reports when the engine becomes unavailable and available, for the services that need it", async () => {
  const { engine, leave, comeBack } = failingEngine();
  await using at = await openInProcess({ engine });
  const health = createRaw(Health, at.transport);
  const seen: Status[] = [];
  for await (const { status } of health.watch({ service: RUNTIME })) {
    seen.push(status);
    if (seen.length === 1) leave("fails");
    if (seen.length === 2) {
      assert.equal((await health.check({ service: "" })).status, Status.NOT_SERVING);
      assert.equal((await health.check({ service: LIFECYCLE })).status, Status.SERVING);
      comeBack();
    }
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen, [Status.SERVING, Status.NOT_SERVING, Status.SERVING]);
});

describe("the pages", () => {
  const page = async (server: { fetch(request: Request): Promise<Response> }, path: string) => {
    const response = await server.fetch(new Request(`http://edge${path}`));
    return [response.status, await response.json()];
  };

  test("/readyz is 503 with the reason while the engine is unavailable, /healthz is 200", async () => {
    for (const how of ["fails", "hangs"] as const) {
      const { engine, leave } = failingEngine();
      await using at = await openInProcess({ engine });
      leave(how);
      assert.deepEqual(await page(at.server, "/readyz"), [
        503,
        { status: "not ready", why: "the test engine is away" },
      ]);
      assert.deepEqual(await page(at.server, "/healthz"), [200, { status: "ok" }]);
    }
  });

  test("/readyz is 503 when the server closes, /healthz is 200", async () => {
    await using at = await openInProcess();
    assert.deepEqual(await page(at.server, "/readyz?verbose"), [200, { status: "ready" }]);
    at.server.endStreams();
    assert.deepEqual(await page(at.server, "/readyz"), [
      503,
      { status: "not ready", why: "the server is closing" },
    ]);
    assert.deepEqual(await page(at.server, "/healthz"), [200, { status: "ok" }]);
  });

  test("a hundred concurrent checks make one call of the engine", async () => {
    const { engine, asked } = failingEngine();
    await using at = await openInProcess({ engine });
    const before = asked();
    const answers = await Promise.all(Array.from({ length: 100 }, () => page(at.server, "/readyz")));
    assert.ok(answers.every(([status]) => status === 200));
    assert.equal(asked() - before, 1);
  });
});
