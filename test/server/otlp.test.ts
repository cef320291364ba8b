import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, test, vi } from "vitest";
import { openTelemetry } from "../../src/cli/otlp.js";
import type { Logger } from "../../src/server/index.js";

const root = join(import.meta.dirname, "../..");
const outfile = join(import.meta.dirname, `.tmp/otlp-${process.pid}.mjs`);
const children: ChildProcess[] = [];

beforeAll(async () => {
  const entryPoints = [join(root, "src/cli/main.ts")];
  const shape = { bundle: true, platform: "node", format: "esm", packages: "external" } as const;
  await build({ entryPoints, outfile, target: "es2022", ...shape });
});
afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  await rm(outfile, { force: true });
});

interface Posted {
  path: string;
  headers: Record<string, unknown>;
  body: Buffer;
}

/** A collector that accepts all requests of OTLP over HTTP. */
async function collector() {
  const posted: Posted[] = [];
  const http = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    posted.push({ path: request.url ?? "", headers: request.headers, body: Buffer.concat(chunks) });
    response.writeHead(200, { "content-type": String(request.headers["content-type"]) }).end();
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  return { url, posted, [Symbol.asyncDispose]: async () => void http.close().closeAllConnections() };
}

/** Starts `fairlead serve` in a process of its own; resolves when it listens. */
async function serve(args: string[], env: Record<string, string> = {}) {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("OTEL_"));
  const child = spawn(process.execPath, [outfile, "serve", "--memory", "--port", "0", ...args], {
    env: { ...Object.fromEntries(inherited), ...env },
  });
  children.push(child);
  let told = "";
  child.stdout.on("data", (text) => (told += text));
  child.stderr.on("data", (text) => (told += text));
  const closed = once(child, "close");
  await Promise.race([closed, vi.waitFor(() => assert.match(told, /Try it/), { timeout: 15_000 })]);
  return {
    url: /Fairlead at (\S+)/.exec(told)?.[1] ?? "",
    told: () => told,
    /** Ends the process; resolves with its status. */
    async stop() {
      child.kill("SIGTERM");
      return (await closed)[0] as number;
    },
  };
}

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";

const sayHello = (url: string) =>
  fetch(`${url}/spec.proto.runtime.v1.Runtime/SayHello`, {
    method: "POST",
    headers: { "content-type": "application/json", traceparent: `00-${TRACE}-${PARENT}-01` },
    body: '{"serviceName":"helloworld","name":"Ada"}',
  });

interface Attribute {
  key: string;
  value: { stringValue?: string };
}

const textOf = (attributes: Attribute[], key: string) =>
  attributes.find((attribute) => attribute.key === key)?.value.stringValue;

test("OpenTelemetry's own variables: traces and metrics reach the collector, as part of the caller's trace", async () => {
  await using at = await collector();
  const server = await serve([], {
    OTEL_EXPORTER_OTLP_ENDPOINT: at.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20sesame",
    OTEL_SERVICE_NAME: "shop",
    OTEL_BSP_SCHEDULE_DELAY: "50",
    OTEL_METRIC_EXPORT_INTERVAL: "200",
    OTEL_METRIC_EXPORT_TIMEOUT: "150",
  });
  assert.equal((await sayHello(server.url)).status, 200);
  const sent = (path: string) => at.posted.filter((one) => one.path === path);
  await vi.waitFor(() => assert.ok(sent("/v1/traces").length > 0 && sent("/v1/metrics").length > 0), 15_000);
  const [first] = sent("/v1/traces");
  assert.equal(first?.headers["authorization"], "Bearer sesame");
  const { resourceSpans } = JSON.parse(String(first?.body));
  const [{ resource, scopeSpans }] = resourceSpans;
  assert.equal(textOf(resource.attributes, "service.name"), "shop");
  const [span] = scopeSpans[0].spans;
  assert.equal(span.name, "spec.proto.runtime.v1.Runtime/SayHello");
  assert.deepEqual([span.traceId, span.parentSpanId, span.kind], [TRACE, PARENT, 2]);
  const metrics = sent("/v1/metrics").map(({ body }) => JSON.parse(String(body)));
  const named = metrics.flatMap((one) =>
    one.resourceMetrics[0].scopeMetrics.flatMap((scope: { metrics: object[] }) => scope.metrics),
  );
  const duration = named.find(({ name }) => name === "rpc.server.call.duration");
  const [point] = duration.histogram.dataPoints;
  assert.equal(textOf(point.attributes, "rpc.method"), "spec.proto.runtime.v1.Runtime/SayHello");
  assert.equal(await server.stop(), 0);
});

test("--otlp URL: pending telemetry is sent when the server ends, as protobuf by default", async () => {
  await using at = await collector();
  // The option overrides the environment.
  const server = await serve(["--otlp", at.url], { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" });
  assert.equal((await sayHello(server.url)).status, 200);
  assert.equal(await server.stop(), 0);
  for (const path of ["/v1/traces", "/v1/metrics"]) {
    const found = at.posted.filter((one) => one.path === path);
    assert.equal(found[0]?.headers["content-type"], "application/x-protobuf", path);
    const all = Buffer.concat(found.map(({ body }) => body));
    assert.ok(all.includes("spec.proto.runtime.v1.Runtime/SayHello"), path);
    assert.ok(all.includes("fairlead"), "the service name");
    if (path === "/v1/traces") assert.ok(all.includes(Buffer.from(TRACE, "hex")), "the caller's trace");
  }
});

test("an unreachable collector does not delay the server, and is reported in the log", async () => {
  const server = await serve(["--otlp", "http://127.0.0.1:9"], { OTEL_BSP_SCHEDULE_DELAY: "50" });
  assert.equal((await sayHello(server.url)).status, 200);
  assert.equal(await server.stop(), 0);
  assert.match(server.told(), /"msg":"OpenTelemetry reports a problem"|"msg":"telemetry could not be sent"/);
});

test("nothing is exported by default, and a wrong URL is refused", async () => {
  const warned: string[] = [];
  const ignore = () => {};
  const log: Logger = {
    debug: ignore,
    info: ignore,
    error: ignore,
    warn: (_, text) => void warned.push(text ?? ""),
  };
  assert.equal(await openTelemetry(undefined, log, {}), undefined);
  const disabled = { OTEL_SDK_DISABLED: "true", OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" };
  assert.equal(await openTelemetry(undefined, log, disabled), undefined);
  await assert.rejects(openTelemetry("localhost:4318", log, {}), /--otlp must be the URL of a collector/);
  assert.deepEqual(warned, []);
});
