import assert from "node:assert/strict";
import { request as http1Request } from "node:http";
import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectError, createClient as createRaw, type Interceptor } from "@connectrpc/connect";
import { test } from "vitest";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { GossipMapService } from "../../gen/atomix/map/map_pb.js";
import { MapService } from "../../gen/atomix/pb/map/map_pb.js";
import { Health } from "../../gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { Lifecycle } from "../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { createGrpcWebTransport, createWebTransport, type FetchOptions } from "../../src/web.js";

test("close() lets unary calls finish, ends streams as unavailable, and accepts no new calls", async () => {
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
  const records = createRaw(LogService, createNodeTransport(listening.url))
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

test("close() cuts calls that have not finished after graceMs", async () => {
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

test("a port in use rejects listen()", async () => {
  await using first = await listen(createServer(), { port: 0 });
  await assert.rejects(listen(createServer(), { port: first.port }), { code: "EADDRINUSE" });
});

test("every facade call that reads works by HTTP GET, and writes use POST", async () => {
  await using at = await listen(createServer(), { port: 0 });
  const methods = new Map<string, string>();
  const watched: typeof fetch = (input, init) => {
    methods.set(new URL(String(input)).pathname.split("/").at(-1) ?? "", init?.method ?? "");
    return fetch(input, init);
  };
  for (const json of [false, true]) {
    const fl = createClient(createWebTransport(at.url, { useHttpGet: true, json, fetch: watched }));
    await fl.state().set("k", { n: 1 });
    assert.deepEqual((await fl.state().get("k"))?.value, { n: 1 });
    assert.equal((await fl.state().getMany(["k", "none"])).size, 1);
    await fl.map<string>("seats").put("12A", "ada");
    assert.equal((await fl.map<string>("seats").get("12A"))?.value, "ada");
    assert.equal(await fl.hello().say("Ada"), "Hello, Ada");
  }
  assert.deepEqual(Object.fromEntries(methods), {
    SaveState: "POST",
    GetState: "GET",
    GetBulkState: "GET",
    Put: "POST",
    Get: "GET",
    SayHello: "GET",
  });
  assert.throws(() => createGrpcWebTransport(at.url, { useHttpGet: true } as FetchOptions), TypeError);
});

for (const entryPoint of ["on a port", "the fetch handler"]) {
  test(`${entryPoint}: every method with side effects refuses GET, and responses to GET may not be cached`, async () => {
    const server = createServer();
    await using at = await listen(server, { port: 0 });
    const get = (path: string): Promise<Response> =>
      entryPoint === "on a port" ? fetch(at.url + path) : server.fetch(new Request(`http://edge${path}`));
    const services = [Runtime, Lifecycle, LogService, MapService, GossipMapService, Health, ServerReflection];
    for (const method of services.flatMap((service): readonly DescMethod[] => service.methods)) {
      // fetch's HTTP/1.1 does not support bidirectional streams.
      if (method.methodKind === "bidi_streaming") continue;
      const { status, headers } = await get(
        `/${method.parent.typeName}/${method.name}?connect=v1&encoding=json&message=%7B%7D`,
      );
      const reads = method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
      assert.equal(status === 405, !reads, `${method.name}: ${status}`);
      assert.equal(headers.get("cache-control"), "no-store");
    }
  });
}

test("the fetch handler answers Connect, gRPC-Web and /healthz without a port, and refuses gRPC", async () => {
  await using server = createServer();
  const asFetch = (input: RequestInfo | URL, init?: RequestInit) =>
    server.fetch(new Request(input, { ...init, redirect: "follow" }));
  for (const dial of [createWebTransport, createGrpcWebTransport]) {
    const fl = createClient(dial("http://edge", { fetch: asFetch }));
    await fl.state<number>().set(dial.name, 7);
    assert.equal((await fl.state<number>().get(dial.name))?.value, 7);
  }
  assert.deepEqual(await (await server.fetch(new Request("http://edge/healthz"))).json(), { status: "ok" });
  assert.equal((await server.fetch(new Request("http://edge/nothing"))).status, 404);
  const grpc = { method: "POST", headers: { "content-type": "application/grpc+proto" } };
  const path = "/spec.proto.runtime.v1.Runtime/SubscribeTopicEvents";
  assert.equal((await server.fetch(new Request(`http://edge${path}`, grpc))).status, 415);
});

test("idle keep-alive connections of HTTP/1.1 do not delay close()", async () => {
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
