import assert from "node:assert/strict";
import { request as http1Request } from "node:http";
import { Code, type ConnectError, createClient as createRaw, type Interceptor } from "@connectrpc/connect";
import { test } from "vitest";
import { GossipMapService } from "../gen/atomix/map/map_pb.js";
import { Runtime } from "../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createClient } from "../src/index.js";
import { createNodeTransport } from "../src/node.js";
import { createServer } from "../src/server/index.js";
import { listen } from "../src/server/node.js";
import { createWebTransport } from "../src/web.js";

test("close() lets a unary call finish, ends streams as unavailable, and takes nothing new", async () => {
  const server = createServer();
  let proceed: () => void = () => {};
  const entered = new Promise<void>((resolve) => {
    const slow: Interceptor = (next) => async (request) => {
      if (request.method.name === "SaveState") {
        resolve();
        await new Promise<void>((go) => {
          proceed = go;
        });
      }
      return next(request);
    };
    server.options.interceptors?.unshift(slow);
  });
  const listening = await listen(server, { port: 0 });
  await using fl = createClient(createNodeTransport(listening.url), { retry: false });
  const records = createRaw(
    (await import("../gen/atomix/log/log_pb.js")).LogService,
    createNodeTransport(listening.url),
  )
    .consume({})
    [Symbol.asyncIterator]();
  const streaming = records.next().catch((error: unknown) => error as ConnectError);
  const saving = fl.state().set("k", 1);
  await entered;
  const closing = listening.close();
  assert.equal(((await streaming) as ConnectError).code, Code.Unavailable);
  proceed();
  assert.match(String(await saving), /^\d+$/);
  await closing;
  const late = fl
    .state()
    .get("k")
    .catch((error: unknown) => error as ConnectError);
  assert.equal(((await late) as ConnectError).code, Code.Unavailable);
});

test("close() cuts what has not finished after graceMs", async () => {
  const server = createServer();
  const stuck: Interceptor = (next) => async (request) => {
    await new Promise(() => {});
    return next(request);
  };
  server.options.interceptors?.unshift(stuck);
  const listening = await listen(server, { port: 0, graceMs: 50 });
  const call = createRaw(Runtime, createNodeTransport(listening.url))
    .getState({})
    .catch((error: unknown) => error);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await listening.close();
  assert.ok((await call) instanceof Error);
});

test("a taken port is an error, not an unhandled one", async () => {
  await using first = await listen(createServer(), { port: 0 });
  await assert.rejects(listen(createServer(), { port: first.port }), { code: "EADDRINUSE" });
});

test("a page of another origin may call, and read every header of ours", async () => {
  await using at = await listen(createServer(), { port: 0 });
  const origin = "https://app.example";
  const url = `${at.url}/spec.proto.runtime.v1.Runtime/GetState`;
  const preflight = await fetch(url, {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "fairlead-http-x",
    },
  });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get("access-control-allow-origin"), origin);
  const allowed = preflight.headers.get("access-control-allow-headers") ?? "";
  for (const name of [
    "connect-protocol-version",
    "fairlead-fence",
    "fairlead-log",
    "authorization",
    "fairlead-http-x",
  ]) {
    assert.ok(allowed.split(", ").includes(name), name);
  }
  const answer = await fetch(url, {
    method: "POST",
    headers: { origin, "content-type": "application/json" },
    body: JSON.stringify({ storeName: "default", key: "k" }),
  });
  assert.equal(answer.headers.get("access-control-expose-headers"), "*");
  assert.equal(answer.status, 200);
});

test("a read can be an HTTP GET", async () => {
  await using at = await listen(createServer(), { port: 0 });
  await createClient(createWebTransport(at.url)).state().set("k", { n: 1 });
  const message = encodeURIComponent(JSON.stringify({ storeName: "default", key: "k" }));
  const url = `${at.url}/spec.proto.runtime.v1.Runtime/GetState?connect=v1&encoding=json&message=${message}`;
  const { data } = (await (await fetch(url)).json()) as { data: string };
  assert.deepEqual(JSON.parse(Buffer.from(data, "base64").toString()), { n: 1 });
});

test("the fetch handler answers Connect and gRPC-Web, CORS and /healthz without a port", async () => {
  await using server = createServer();
  const asFetch = (input: RequestInfo | URL, init?: RequestInit) =>
    server.fetch(new Request(input, { ...init, redirect: "follow" }));
  for (const protocol of ["connect", "grpc-web"] as const) {
    const fl = createClient(createWebTransport("http://edge", { protocol, fetch: asFetch }));
    await fl.state<number>().set(protocol, 7);
    assert.equal((await fl.state<number>().get(protocol))?.value, 7);
  }
  assert.deepEqual(await (await server.fetch(new Request("http://edge/healthz"))).json(), { status: "ok" });
  assert.equal((await server.fetch(new Request("http://edge/nothing"))).status, 404);
  const preflight = await server.fetch(
    new Request("http://edge/x", { method: "OPTIONS", headers: { origin: "https://a" } }),
  );
  assert.equal(preflight.headers.get("access-control-allow-origin"), "https://a");
});

test("keep-alive connections of HTTP/1.1 do not hold close() up", async () => {
  const at = await listen(createServer(), { port: 0 });
  const { Agent } = await import("node:http");
  const agent = new Agent({ keepAlive: true });
  await new Promise<void>((resolve, reject) => {
    http1Request(`${at.url}/healthz`, { agent }, (response) => response.resume().on("end", resolve))
      .on("error", reject)
      .end();
  });
  const beganMs = performance.now();
  await at.close();
  assert.ok(performance.now() - beganMs < 2000);
  agent.destroy();
});

test("close() of a server without a port ends its streams as unavailable too", async () => {
  const server = createServer();
  const sent = new AbortController();
  const messages = createRaw(GossipMapService, server.transport()).connect(
    (async function* () {
      yield { source: "m", target: { namespace: "n", name: "g" } };
      await new Promise((resolve) => sent.signal.addEventListener("abort", resolve));
    })(),
  );
  const ended = (async () => {
    for await (const _message of messages) await server.close();
  })().catch((error: unknown) => error as ConnectError);
  await server.close();
  assert.equal(((await ended) as ConnectError).code, Code.Unavailable);
  sent.abort();
});
