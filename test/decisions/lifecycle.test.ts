import assert from "node:assert/strict";
import { createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { Lifecycle } from "../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8 } from "../../src/lib/utf8.js";
import { Components } from "../../src/server/config/components.js";
import { parseConfig } from "../../src/server/config/config.js";
import type { ConfigInput } from "../../src/server/index.js";
import { httpApp } from "../support/http-app.js";
import { openInProcess } from "../support/protocols.js";

const config: ConfigInput = {
  hello: { helloworld: { greeting: "Hello" }, other: { greeting: "Hi" } },
  bindings: { echo: { type: "echo" }, out: { type: "http", url: "http://127.0.0.1:1", timeoutMs: 5000 } },
  services: { inventory: { url: "http://127.0.0.1:1" } },
  logs: { audit: { maxRecords: 5 } },
  secrets: { vault: { type: "values", values: { db: "s3cr3t" } } },
};

async function open() {
  const at = await openInProcess({ config });
  const lifecycle = createClient(Lifecycle, at.transport);
  const runtime = createClient(Runtime, at.transport);
  const apply = (kind: string, name: string, metadata: Record<string, string>) =>
    lifecycle.applyConfiguration({ componentConfig: { kind, name, metadata } });
  const say = async (serviceName = "helloworld") => (await runtime.sayHello({ serviceName })).hello;
  return { lifecycle, runtime, apply, say, [Symbol.asyncDispose]: at[Symbol.asyncDispose] };
}

test("ApplyConfiguration: replaces all of the metadata: what is left out gets its default", () => {
  const components = new Components(
    parseConfig({
      pubsub: { default: { maxDeliveries: 3, retryMinMs: 7 } },
      logs: { audit: { maxBytes: 9 } },
    }),
  );
  components.replace("pubsub", "default", { maxDeliveries: "5" });
  assert.deepEqual(components.get("pubsub", "default"), {
    maxDeliveries: 5,
    retryMinMs: 100,
    retryMaxMs: 30_000,
  });
  components.replace("logs", "audit", { maxRecords: "2" });
  assert.deepEqual(components.get("logs", "audit"), { maxRecords: 2 });
});

test("ApplyConfiguration: every kind that can change does, under both its names", async () => {
  await using at = await open();
  await using app = await httpApp((_asked, response) => response.end("moved"));
  for (const kind of ["services", "rpcs"]) await at.apply(kind, "inventory", { url: app.url });
  for (const kind of ["pubsub", "pub_subs"]) await at.apply(kind, "default", { maxDeliveries: "3" });
  await at.apply("logs", "audit", { maxRecords: "3" });
  await at.apply("sequencer", "default", { segment: "10", biggerThan: '{"orders": "41", "n": 7}' });
  await at.apply("bindings", "echo", { type: "echo" });
  await at.apply("bindings", "out", { url: app.url, timeoutMs: "1000" });
  const { data } = await at.runtime.invokeBinding({ name: "out", operation: "get" });
  assert.equal(fromUtf8(data), "moved");
  const answer = await at.runtime.invokeService({ id: "inventory", message: { method: "/" } });
  assert.equal(fromUtf8(answer.data?.value ?? new Uint8Array()), "moved");
});
