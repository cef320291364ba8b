import assert from "node:assert/strict";
import { type ConnectError, createClient as createRaw } from "@connectrpc/connect";
import { test } from "vitest";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createNodeTransport } from "../../src/node.js";
import { createMetrics } from "../../src/server/calls/metrics.js";
import { openInProcess, overHttp } from "../support/protocols.js";

const openGrpc = overHttp((url) => createNodeTransport(url, { protocol: "grpc" }));

const GET_STATE = 'method="spec.proto.runtime.v1.Runtime/GetState"';

/** Prometheus' text format, line by line: each sample by its name and labels. */
function parse(text: string): Map<string, number> {
  assert.ok(text.endsWith("\n"));
  const types = new Map<string, string>();
  const samples = new Map<string, number>();
  for (const line of text.slice(0, -1).split("\n")) {
    const comment = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line);
    if (comment) {
      const [, kind, name = "", rest = ""] = comment;
      if (kind === "TYPE") {
        assert.match(rest, /^(counter|gauge|histogram)$/);
        assert.ok(!types.has(name), `${name} comes twice`);
        types.set(name, rest);
      }
      continue;
    }
    const sample = /^([a-z_]+)(\{[a-z_]+="[^"\\\n]*"(?:,[a-z_]+="[^"\\\n]*")*\})? ([0-9.e+-]+)$/.exec(line);
    assert.ok(sample, line);
    const [, name = "", labels = "", value] = sample;
    assert.ok(types.has(name) || types.get(name.replace(/_(bucket|sum|count)$/, "")) === "histogram", line);
    assert.ok(!samples.has(name + labels), `${line} comes twice`);
    samples.set(name + labels, Number(value));
  }
  return samples;
}

test("/metrics counts calls by method, protocol and code, and has the memory of the process", async () => {
  await using at = await openGrpc();
  const runtime = createRaw(Runtime, at.transport);
  for (let i = 0; i < 3; i++) await runtime.getState({ storeName: "default", key: `k${i}` });
  await runtime.getState({ storeName: "nowhere", key: "k" }).catch(() => {});
  await using other = createNodeTransport(at.url, { httpVersion: "1.1" });
  await createRaw(Runtime, other).getState({ storeName: "default", key: "k" });
  await new Promise((resolve) => setTimeout(resolve, 20));

  const response = await fetch(`${at.url}/metrics`);
  assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  const samples = parse(await response.text());
  const calls = (labels: string) => samples.get(`fairlead_calls_total{${GET_STATE},${labels}}`);
  assert.equal(calls('protocol="grpc",code="ok"'), 3);
  assert.equal(calls('protocol="grpc",code="invalid_argument"'), 1);
  assert.equal(calls('protocol="connect",code="ok"'), 1);
  assert.equal(samples.get(`fairlead_call_duration_seconds_count{${GET_STATE}}`), 5);
  assert.equal(samples.get(`fairlead_call_duration_seconds_bucket{${GET_STATE},le="+Inf"}`), 5);
  assert.ok((samples.get("process_resident_memory_bytes") ?? 0) > 10_000_000);
});

test("/metrics has the number of open streams, which is 0 after they were left", async () => {
  await using at = await openGrpc();
  const open = async () =>
    parse((await at.server.metrics(null)).body).get(
      'fairlead_streams_open{method="atomix.log.LogService/Consume"}',
    );
  const leaving = new AbortController();
  const streams = Array.from({ length: 3 }, () =>
    createRaw(LogService, at.transport).consume({}, { signal: leaving.signal })[Symbol.asyncIterator](),
  );
  const reads = streams.map((stream) => stream.next().catch(() => {}));
  await until(async () => (await open()) === 3);
  leaving.abort();
  await Promise.all(reads);
  await until(async () => (await open()) === 0);
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; !(await holds()); i++) {
    assert.ok(i < 500, "it never came to be");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test("the buckets of a histogram are cumulative, and a duration equal to a bound is within it", () => {
  const metrics = createMetrics();
  const call = { id: "", method: "s/M", protocol: "grpc", isStream: false } as const;
  for (const ms of [0.1, 0.5, 3, 20_000]) {
    metrics.onStart(call);
    metrics.onEnd(call, "ok", ms);
  }
  const samples = parse(metrics.text({}));
  const bucket = (le: string) =>
    samples.get(`fairlead_call_duration_seconds_bucket{method="s/M",le="${le}"}`);
  assert.deepEqual(["0.0005", "0.0025", "0.005", "10", "+Inf"].map(bucket), [2, 2, 3, 3, 4]);
  assert.ok(
    Math.abs((samples.get('fairlead_call_duration_seconds_sum{method="s/M"}') ?? 0) - 20.0036) < 1e-9,
  );
});

test("clients cannot add series to the metrics", async () => {
  await using at = await openInProcess();
  const runtime = createRaw(Runtime, at.transport);
  const call = (i: number) =>
    runtime
      .getState(
        { storeName: i % 2 ? "default" : `store-${i}`, key: `key-${i}` },
        { headers: { "x-request-id": `id-${i}`, "user-agent": `agent-${i}`, "content-encoding": `${i}` } },
      )
      .catch((error: ConnectError) => error);
  for (let i = 0; i < 4; i++) await call(i);
  const size = async () => (await at.server.metrics(null)).body.split("\n").length;
  const before = await size();
  for (let i = 4; i < 200; i++) await call(i);
  for (let i = 0; i < 20; i++)
    await at.server.fetch(new Request(`http://x/spec.Nothing/Method${i}`, { method: "POST" }));
  assert.equal(await size(), before);
  assert.doesNotMatch((await at.server.metrics(null)).body, /store-|key-|id-|agent-/);
});

test("with access rules, /metrics needs a known token", async () => {
  const token = "a-token-for-the-collector";
  const tokens = [
    { token, subject: "prometheus", rules: [{ primitive: "hello" as const, verbs: ["read"] }] },
  ];
  await using at = await openGrpc({ config: { access: { tokens } } });
  const status = async (headers?: Record<string, string>) =>
    (await fetch(`${at.url}/metrics`, headers && { headers })).status;
  assert.equal(await status(), 401);
  assert.equal(await status({ authorization: "Bearer another-token-altogether" }), 401);
  assert.equal(await status({ authorization: `Bearer ${token}` }), 200);
  const here = new Request("http://x/metrics", { headers: { authorization: `Bearer ${token}` } });
  assert.equal((await at.server.fetch(here)).status, 200);
  assert.equal((await at.server.fetch(new Request("http://x/metrics"))).status, 401);
});
