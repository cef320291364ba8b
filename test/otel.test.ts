import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Code, ConnectError, createClient as createRaw } from "@connectrpc/connect";
import { context, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { afterAll, beforeEach, describe, test } from "vitest";
import { LogService } from "../gen/atomix/log/log_pb.js";
import { Runtime } from "../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createClient } from "../src/index.js";
import { createNodeTransport, type NodeTransportOptions, serveCallbacks } from "../src/node.js";
import { otelClient, otelServer } from "../src/otel.js";
import { silent } from "../src/server/context.js";
import type { ServerOptions } from "../src/server/index.js";
import { httpApp } from "./support/http-app.js";
import { overHttp } from "./support/protocols.js";

const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(
  new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
);
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
afterAll(() => {
  trace.disable();
  propagation.disable();
  context.disable();
});
beforeEach(() => exporter.reset());

/** The spans that have ended, once there are `count`. */
async function spans(count: number): Promise<ReadableSpan[]> {
  for (let i = 0; exporter.getFinishedSpans().length < count; i++) {
    assert.ok(i < 500, `only ${exporter.getFinishedSpans().map(({ name }) => name)}`);
    await new Promise((resolve) => setTimeout(resolve, 4));
  }
  assert.equal(exporter.getFinishedSpans().length, count);
  return exporter.getFinishedSpans();
}

const spanOf = (all: ReadableSpan[], kind: SpanKind, name: string): ReadableSpan => {
  const found = all.find((span) => span.kind === kind && span.name.endsWith(name));
  assert.ok(found, `${name} is not among ${all.map(({ name }) => name)}`);
  return found;
};

const protocols: [name: string, options: NodeTransportOptions][] = [
  ["Connect", {}],
  ["Connect JSON over HTTP/1.1", { httpVersion: "1.1", json: true }],
  ["gRPC", { protocol: "grpc" }],
  ["gRPC-Web", { protocol: "grpc-web" }],
];

const RUNTIME = "spec.proto.runtime.v1.Runtime";

for (const [name, options] of protocols) {
  const isGrpc = name.startsWith("gRPC");
  const open = (server?: ServerOptions) =>
    overHttp((url) => createNodeTransport(url, { ...options, interceptors: [otelClient()] }))({
      ...server,
      interceptors: [otelServer()],
    });

  describe(name, () => {
    test("one trace leads from the publisher's span over the server's to the app that gets the event", async () => {
      let metadata: Readonly<Record<string, string>> = {};
      let told: () => void = () => {};
      const delivered = new Promise<void>((resolve) => {
        told = resolve;
      });
      const handler = (event: { metadata: typeof metadata }) => {
        metadata = event.metadata;
        told();
      };
      const app = await serveCallbacks({ t: handler }, { port: 0, interceptors: [otelServer()] });
      try {
        let isHere: () => void = () => {};
        const here = new Promise<void>((resolve) => {
          isHere = resolve;
        });
        const log = { ...silent, info: isHere };
        await using at = await open({ log, config: { apps: { app: { url: app.url } } } });
        await here;
        await spans(1); // The server has asked for the subscriptions.
        exporter.reset();
        await createClient(at.transport).pubsub().publish("t", "x");
        await delivered;
        const all = await spans(3);
        const client = spanOf(all, SpanKind.CLIENT, "/PublishEvent");
        const server = spanOf(all, SpanKind.SERVER, "/PublishEvent");
        const delivery = spanOf(all, SpanKind.SERVER, "/OnTopicEvent");
        const { traceId } = client.spanContext();
        assert.deepEqual(
          all.map((span) => span.spanContext().traceId),
          [traceId, traceId, traceId],
        );
        assert.equal(server.parentSpanContext?.spanId, client.spanContext().spanId);
        assert.equal(delivery.parentSpanContext?.spanId, server.spanContext().spanId);
        assert.equal(metadata["traceparent"], `00-${traceId}-${server.spanContext().spanId}-01`);
      } finally {
        await app.close();
      }
    });

    test("spans say what OpenTelemetry's conventions for RPC ask for, and failures are recorded", async () => {
      await using at = await open();
      const runtime = createRaw(Runtime, at.transport);
      await runtime.getState({ storeName: "default", key: "k" });
      await runtime.getState({ storeName: "nowhere", key: "k" }).catch(() => {});
      const all = await spans(4);
      const [system, refused] = isGrpc ? ["grpc", "INVALID_ARGUMENT"] : ["connectrpc", "invalid_argument"];
      const [, , server, client] = all as [unknown, unknown, ReadableSpan, ReadableSpan];
      const { port } = new URL(at.url);
      const method = { "rpc.system.name": system, "rpc.method": `${RUNTIME}/GetState` };
      assert.deepEqual(server.attributes, { ...method, "rpc.status_code": refused });
      assert.deepEqual(client.attributes, {
        ...method,
        "server.address": "127.0.0.1",
        "server.port": Number(port),
        "rpc.status_code": refused,
        "error.type": refused,
      });
      // What a caller got wrong is no failure of the server.
      assert.deepEqual(
        [server.status.code, client.status.code],
        [SpanStatusCode.UNSET, SpanStatusCode.ERROR],
      );
      assert.match(client.status.message ?? "", /state store "nowhere" is not configured/);
      assert.equal(client.events[0]?.name, "exception");
    });

    test("a stream's spans last until it ends, and until it is left", async () => {
      await using at = await open();
      const log = createClient(at.transport).log("l");
      if (options.httpVersion !== "1.1") await log.append(["a", "b"]);
      await new Promise((resolve) => setTimeout(resolve, 20));
      exporter.reset();
      const leaving = new AbortController();
      const logs = createRaw(LogService, at.transport);
      const headers = { "fairlead-log": "l" };
      const stream = logs.consume({}, { headers, signal: leaving.signal })[Symbol.asyncIterator]();
      const first = stream.next().catch(() => {});
      if (options.httpVersion !== "1.1") await first;
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.deepEqual(exporter.getFinishedSpans(), []);
      leaving.abort();
      await first;
      const left = await spans(2);
      const canceled = isGrpc ? "CANCELLED" : "canceled";
      for (const span of left) assert.equal(span.attributes["rpc.status_code"], canceled);
      exporter.reset();
      for await (const _ of logs.consume({}, { headers: { ...headers, "fairlead-follow": "false" } }));
      const ended = await spans(2);
      for (const span of ended) assert.equal(span.attributes["rpc.status_code"], isGrpc ? "OK" : undefined);
    });

    test("invoked services and HTTP bindings are told of the trace, and of its state", async () => {
      await using app = await httpApp();
      const { url } = app;
      await using at = await open({
        config: { services: { s: { url } }, bindings: { b: { type: "http", url } } },
      });
      const runtime = createRaw(Runtime, at.transport);
      const tracer = trace.getTracer("test");
      const remote = { traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1 };
      const parent = propagation.extract(context.active(), {
        traceparent: `00-${remote.traceId}-${remote.spanId}-01`,
        tracestate: "vendor=abc",
      });
      await tracer.startActiveSpan("root", {}, parent, async (root) => {
        await runtime.invokeService({ id: "s", message: { method: "x" } });
        await runtime.invokeBinding({ name: "b", operation: "get" });
        root.end();
      });
      const all = await spans(5);
      const expected = ["/InvokeService", "/InvokeBinding"].map((name) => {
        const { spanId } = spanOf(all, SpanKind.SERVER, name).spanContext();
        return [`00-${remote.traceId}-${spanId}-01`, "vendor=abc"];
      });
      const got = app.asked.map(({ headers }) => [headers["traceparent"], headers["tracestate"]]);
      assert.deepEqual(got, expected);
    });
  });
}

test("each delivery of an event to an app has a span of its own, in the trace of the publish and linked to it", async () => {
  let deliveries = 0;
  const handler = () => {
    if (++deliveries === 1) throw new Error("not yet");
  };
  await using app = await serveCallbacks({ t: handler }, { port: 0, interceptors: [otelServer()] });
  let isHere: () => void = () => {};
  const here = new Promise<void>((resolve) => {
    isHere = resolve;
  });
  await using at = await overHttp((url) => createNodeTransport(url))({
    log: { ...silent, info: isHere },
    interceptors: [otelServer()],
    clientInterceptors: [otelClient()],
    config: { apps: { app: { url: app.url } }, pubsub: { default: { retryMinMs: 1 } } },
  });
  await here;
  const asked = await spans(2);
  const question = spanOf(asked, SpanKind.CLIENT, "AppCallback/ListTopicSubscriptions");
  assert.equal(question.attributes["server.port"], app.port);
  exporter.reset();
  await createClient(at.transport).pubsub().publish("t", "x");
  const all = await spans(5);
  const publish = spanOf(all, SpanKind.SERVER, "/PublishEvent").spanContext();
  const delivered = all.filter(({ kind, name }) => kind === SpanKind.CLIENT && /OnTopicEvent/.test(name));
  assert.deepEqual(
    delivered.map(({ status, attributes }) => [status.code, attributes["error.type"]]),
    [
      [SpanStatusCode.ERROR, "INTERNAL"],
      [SpanStatusCode.UNSET, undefined],
    ],
  );
  const handled = all.filter(({ kind, name }) => kind === SpanKind.SERVER && /OnTopicEvent/.test(name));
  for (const [i, delivery] of delivered.entries()) {
    assert.equal(delivery.spanContext().traceId, publish.traceId);
    assert.equal(delivery.parentSpanContext?.spanId, publish.spanId);
    assert.deepEqual(
      delivery.links.map(({ context }) => context.spanId),
      [publish.spanId],
    );
    assert.equal(handled[i]?.parentSpanContext?.spanId, delivery.spanContext().spanId);
  }
});

test("a delivery within another span is that one's part, and linked to the publish", async () => {
  const tracer = trace.getTracer("test");
  const about = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
  await using at = await overHttp((url) => createNodeTransport(url, { interceptors: [otelClient()] }))();
  await tracer.startActiveSpan("run", async (run) => {
    await createRaw(Runtime, at.transport).sayHello(
      { serviceName: "helloworld" },
      { headers: { traceparent: about } },
    );
    run.end();
  });
  const all = await spans(2);
  const call = spanOf(all, SpanKind.CLIENT, "/SayHello");
  assert.equal(call.parentSpanContext?.spanId, spanOf(all, SpanKind.INTERNAL, "run").spanContext().spanId);
  assert.deepEqual(
    call.links.map(({ context }) => context.spanId),
    ["b".repeat(16)],
  );
});

test("an event keeps the trace that its publisher gave it, and no header that is none", async () => {
  await using at = await overHttp((url) => createNodeTransport(url))();
  const runtime = createRaw(Runtime, at.transport);
  const own = `00-${"a".repeat(32)}-${"b".repeat(16)}-00`;
  const passed = `00-${"c".repeat(32)}-${"d".repeat(16)}-01`;
  const publish = (traceparent: string, metadata = {}) =>
    runtime.publishEvent({ pubsubName: "default", topic: "t", metadata }, { headers: { traceparent } });
  const seen: (string | undefined)[] = [];
  const onOpen = async () => {
    await publish(passed);
    await publish(passed, { traceparent: own });
    await publish(`00-${"0".repeat(32)}-${"d".repeat(16)}-01`);
    await publish("<script>");
  };
  for await (const message of createClient(at.transport).pubsub().subscribe("t", { onOpen })) {
    seen.push(message.metadata["traceparent"]);
    message.ack();
    if (seen.length === 4) break;
  }
  assert.deepEqual(seen, [passed, own, undefined, undefined]);
});

test("a server that breaks has a span with an error, and its cause does not leave the process by the client", async () => {
  await using at = await overHttp((url) => createNodeTransport(url, { interceptors: [otelClient()] }))({
    interceptors: [otelServer(), () => () => Promise.reject(new ConnectError("it broke", Code.Internal))],
  });
  await createClient(at.transport, { retry: false })
    .state()
    .get("k")
    .catch(() => {});
  for (const { status, attributes } of await spans(2)) {
    assert.equal(status.code, SpanStatusCode.ERROR);
    assert.equal(attributes["error.type"], "internal");
  }
});

test("without its peer fairlead/otel says which package to add", async () => {
  const { build } = await import("esbuild");
  const { outputFiles } = await build({
    entryPoints: [new URL("../src/otel.ts", import.meta.url).pathname],
    bundle: true,
    format: "esm",
    platform: "node",
    external: ["@opentelemetry/api"],
    write: false,
  });
  const code = outputFiles[0]?.text ?? "";
  const run = promisify(execFile)(process.execPath, ["--input-type=module", "-e", code], { cwd: "/" });
  await assert.rejects(
    run,
    /Cannot use fairlead\/otel without its peer: add the package "@opentelemetry\/api"/,
  );
});
