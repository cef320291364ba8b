import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createTcp, type Socket } from "node:net";
import { Code, createContextValues, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { test } from "vitest";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { Http2Sessions } from "../../src/node-http/http2-sessions.js";
import { needsNewConnection } from "../../src/rpc/new-connection.js";
import { sleep } from "../../src/rpc/sleep.js";
import { failure } from "../decisions/failure.js";
import { openCuttableProxy } from "../support/cuttable-proxy.js";
import { overHttp } from "../support/protocols.js";

const protocols = ["connect", "grpc", "grpc-web"] as const;

for (const protocol of protocols) {
  test(`${protocol}: 2500 calls at once on one connection all succeed, never more than the peer's limit at a time`, async () => {
    let open = 0;
    let most = 0;
    const count: Interceptor = (next) => async (request) => {
      most = Math.max(most, ++open);
      await sleep(1);
      const answer = await next(request);
      open--;
      return answer;
    };
    await using at = await overHttp((url) => createNodeTransport(url, { protocol }))({
      interceptors: [count],
    });
    const hello = createClient(at.transport, { retry: false }).hello();
    const answers = await Promise.all(Array.from({ length: 2500 }, (_, i) => hello.say(String(i))));
    assert.deepEqual(new Set(answers).size, 2500);
    assert.ok(most <= 1000, `${most} at a time`);
  });
}

test("calls beyond the peer's limit begin in their order, and those canceled meanwhile never do", async () => {
  const begun: string[] = [];
  let free = () => {};
  const held = new Promise<void>((resolve) => {
    free = resolve;
  });
  const note: Interceptor = (next) => async (request) => {
    if (!request.stream) {
      const { name = "" } = request.message as { name?: string };
      begun.push(name);
      if (name === "first") await held;
    }
    return next(request);
  };
  await using at = await overHttp((url) => createNodeTransport(url))({
    interceptors: [note],
    config: { limits: { connectionStreams: 1 } },
  });
  const hello = createClient(at.transport, { retry: false }).hello();
  const first = hello.say("first");
  while (begun.length === 0) await sleep(5);
  const gaveUp = new AbortController();
  const aborted = failure(hello.say("aborted", { signal: gaveUp.signal }));
  const late = failure(hello.say("late", { timeoutMs: 30 }));
  const others = ["a", "b", "c"].map((name) => hello.say(name));
  gaveUp.abort();
  assert.equal((await aborted).code, Code.Canceled);
  assert.equal((await late).code, Code.DeadlineExceeded);
  free();
  await Promise.all([first, ...others]);
  assert.deepEqual(begun, ["first", "a", "b", "c"]);
});

for (const httpVersion of ["1.1", "2"] as const) {
  test(`a call over HTTP/${httpVersion} to a peer that accepts and stays silent ends by its deadline`, async () => {
    const sockets: Socket[] = [];
    const silent = createTcp((socket) => void sockets.push(socket));
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as { port: number };
    await using transport = createNodeTransport(`http://127.0.0.1:${port}`, {
      httpVersion,
      dialTimeoutMs: 300,
    });
    const hello = createClient(transport, { retry: false }).hello();
    const startMs = performance.now();
    const error = await failure(hello.say("x", { timeoutMs: httpVersion === "2" ? 5000 : 300 }));
    assert.equal(error.code, httpVersion === "2" ? Code.Unavailable : Code.DeadlineExceeded);
    if (httpVersion === "2") {
      assert.match(error.rawMessage, /^cannot reach 127.0.0.1:\d+: no HTTP\/2 connection within 300 ms$/);
    }
    assert.ok(performance.now() - startMs < 3000);
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
}

test("a call that ends by its deadline without any received bytes probes the connection: the next but one succeeds", async () => {
  await using at = await overHttp((url) => createNodeTransport(url))();
  await using way = await openCuttableProxy(Number(new URL(at.url).port));
  await using transport = createNodeTransport(way.url);
  const hello = createClient(transport, { retry: false }).hello();
  await hello.say("x");
  way.stall();
  const startMs = performance.now();
  let failed = 0;
  while ((await hello.say("x", { timeoutMs: 2000 }).catch(() => "")) === "") failed++;
  assert.ok(failed <= 2, `${failed} calls failed`);
  assert.ok(performance.now() - startMs < 6000);
});

test("a call that needs a new connection does not use a silent one", async () => {
  await using at = await overHttp((url) => createNodeTransport(url))();
  await using way = await openCuttableProxy(Number(new URL(at.url).port));
  const sessionManager = new Http2Sessions(way.url);
  const transport = createConnectTransport({
    baseUrl: way.url,
    httpVersion: "2",
    sessionManager,
    interceptors: [sessionManager.interceptor],
  });
  const hello = createClient(transport, { retry: false }).hello();
  await hello.say("x");
  await sleep(600);
  way.stall();
  const contextValues = createContextValues().set(needsNewConnection, true);
  assert.equal(await hello.say("x", { contextValues, timeoutMs: 1000 }), "Hello, x");
  sessionManager.close();
});

test("a slow server keeps its connection: other calls continue after one that timed out", async () => {
  const slow: Interceptor = (next) => async (request) => {
    const { name = "" } = request.stream ? {} : (request.message as { name?: string });
    if (name === "slow") await sleep(3000);
    return next(request);
  };
  await using at = await overHttp((url) => createNodeTransport(url))({ interceptors: [slow] });
  const hello = createClient(at.transport, { retry: false }).hello();
  const patient = hello.say("slow");
  assert.equal((await failure(hello.say("slow", { timeoutMs: 1200 }))).code, Code.DeadlineExceeded);
  assert.equal(await patient, "Hello, slow");
});
