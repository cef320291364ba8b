import assert from "node:assert/strict";
import { connect as connectHttp2 } from "node:http2";
import { Code, createClient as createRaw, type Transport } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/grpc/health/v1/health_pb.js";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { createWebTransport } from "../../src/web.js";
import { failure } from "../decisions/failure.js";

const DRAIN_MS = 2000;

/** A client that makes each call once. */
const once = (transport: Transport) => createClient(transport, { retry: false });

describe.each<{ name: string; dial: (url: string) => Transport & Partial<AsyncDisposable> }>([
  { name: "HTTP/2", dial: (url) => createNodeTransport(url) },
  { name: "HTTP/1.1", dial: (url) => createNodeTransport(url, { httpVersion: "1.1" }) },
  { name: "fetch", dial: (url) => createWebTransport(url) },
  { name: "the tunnel", dial: (url) => createTunnelTransport(url) },
])("over $name", ({ dial }) => {
  test("a draining server is not ready, accepts calls for drainMs, and then refuses them", async () => {
    const at = await listen(createServer(), { port: 0, drainMs: DRAIN_MS });
    const transport = dial(at.url);
    const before = once(transport).state<number>();
    await before.set("k", 1);
    const beganMs = performance.now();
    const closed = at.close();
    assert.equal((await fetch(`${at.url}/readyz`)).status, 503);
    assert.equal((await fetch(`${at.url}/healthz`)).status, 200);
    const health = createRaw(Health, createNodeTransport(at.url));
    for (const service of ["", "grpc.health.v1.Health"]) {
      assert.equal((await health.check({ service })).status, Status.NOT_SERVING);
    }
    // By the existing connection, and by a new one.
    const late = dial(at.url);
    assert.equal((await before.get("k"))?.value, 1);
    assert.equal((await once(late).state<number>().get("k"))?.value, 1);
    await closed;
    assert.ok(performance.now() - beganMs >= DRAIN_MS);
    assert.equal((await failure(before.get("k"))).code, Code.Unavailable);
    for (const each of [transport, late]) await each[Symbol.asyncDispose]?.();
  });
});

test("HTTP/2: GOAWAY is sent when no more calls are accepted, with the last accepted one, and before streams end", async () => {
  const at = await listen(createServer(), { port: 0, drainMs: 300 });
  const session = connectHttp2(at.url);
  const order: string[] = [];
  session.once("goaway", (code, lastId) => order.push(`goaway ${code} ${lastId}`));
  const headers = {
    ":method": "POST",
    ":path": "/grpc.health.v1.Health/Watch",
    "content-type": "application/grpc",
  };
  const watch = session.request(headers);
  const first = new Promise((resolve) => watch.once("data", resolve));
  watch.on("trailers", ({ "grpc-status": status }) => order.push(`stream ends ${status}`));
  watch.resume().end(new Uint8Array(5));
  await first;
  const closed = at.close();
  const health = session.request({ ":path": "/healthz" });
  const status = new Promise((resolve) => health.once("response", (answer) => resolve(answer[":status"])));
  health.resume().end();
  assert.equal(await status, 200);
  assert.deepEqual(order, []);
  await closed;
  assert.deepEqual(order, ["goaway 0 3", `stream ends ${Code.Unavailable}`]);
  session.destroy();
});

test("HTTP/1.1: each response of a draining server is the last one of its connection", async () => {
  const at = await listen(createServer(), { port: 0, drainMs: 200 });
  assert.equal((await fetch(`${at.url}/healthz`)).headers.get("connection"), "keep-alive");
  const closed = at.close();
  assert.equal((await fetch(`${at.url}/healthz`)).headers.get("connection"), "close");
  await closed;
});
