import assert from "node:assert/strict";
import { Code, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { BadRequestSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Lifecycle } from "../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8 } from "../../src/internal/utf8.js";
import { Components } from "../../src/server/components.js";
import { parseConfig } from "../../src/server/config.js";
import type { ConfigInput } from "../../src/server/index.js";
import { openHere } from "../doors.js";
import { httpApp } from "../http-app.js";
import { failure } from "./failure.js";

const config: ConfigInput = {
  hello: { helloworld: { greeting: "Hello" }, other: { greeting: "Hi" } },
  bindings: { echo: { type: "echo" }, out: { type: "http", url: "http://127.0.0.1:1", timeoutMs: 5000 } },
  services: { inventory: { url: "http://127.0.0.1:1" } },
  logs: { audit: { maxRecords: 5 } },
  secrets: { vault: { type: "values", values: { db: "s3cr3t" } } },
};

async function open() {
  const at = await openHere({ config });
  const lifecycle = createClient(Lifecycle, at.transport);
  const runtime = createClient(Runtime, at.transport);
  const apply = (kind: string, name: string, metadata: Record<string, string>) =>
    lifecycle.applyConfiguration({ componentConfig: { kind, name, metadata } });
  const say = async (serviceName = "helloworld") => (await runtime.sayHello({ serviceName })).hello;
  return { lifecycle, runtime, apply, say, [Symbol.asyncDispose]: at[Symbol.asyncDispose] };
}

test("ApplyConfiguration: replaces a component's metadata at run time, for the next call", async () => {
  await using at = await open();
  for (const [kind, key] of [
    ["hellos", "hello"],
    ["hello", "greeting"],
    ["hellos", "greeting"],
    ["hello", "hello"],
  ] as const) {
    await at.apply(kind, "helloworld", { [key]: `${kind} ${key}` });
    assert.equal(await at.say(), `${kind} ${key}`);
    assert.equal(await at.say("other"), "Hi");
  }
});

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

test("ApplyConfiguration: unknown is invalid_argument: a kind, a name, a setting, each named", async () => {
  await using at = await open();
  const cases: [kind: string, name: string, metadata: Record<string, string>, message: RegExp][] = [
    [
      "nope",
      "x",
      { a: "b" },
      /^component_config\.kind "nope": is not a kind of component; those that can change/,
    ],
    ["__proto__", "x", { a: "b" }, /^component_config\.kind "__proto__": is not a kind/],
    [
      "hello",
      "nope",
      { greeting: "x" },
      /^hello "nope" is not configured; configured: "helloworld", "other"$/,
    ],
    ["hello", "__proto__", { greeting: "x" }, /^hello "__proto__" is not configured/],
    ["hello", "constructor", { greeting: "x" }, /^hello "constructor" is not configured/],
    [
      "hello",
      "helloworld",
      { greetign: "x" },
      /^component_config\.metadata\["greetign"\] "x": is no setting of this hello; its settings: greeting$/,
    ],
    [
      "hello",
      "helloworld",
      { ["__proto__"]: "x" },
      /^component_config\.metadata\["__proto__"\] "x": is no setting/,
    ],
    ["bindings", "out", { url: "http://h", path: "x" }, /its settings: type, url, timeoutMs$/],
    ["bindings", "echo", { url: "http://h" }, /its settings: type$/],
  ];
  for (const [kind, name, metadata, message] of cases) {
    const error = await failure(at.apply(kind, name, metadata));
    assert.equal(error.code, Code.InvalidArgument);
    assert.match(error.rawMessage, message);
  }
  assert.equal(await at.say(), "Hello");
  assert.equal(({} as Record<string, unknown>)["greeting"], undefined);
});

test("ApplyConfiguration: a wrong setting is named, with its value and what would be right, and nothing changes", async () => {
  await using at = await open();
  const cases: [
    kind: string,
    name: string,
    metadata: Record<string, string>,
    setting: string,
    why: RegExp,
  ][] = [
    ["pubsub", "default", { maxDeliveries: "many" }, "maxDeliveries", /"many": must be a number$/],
    ["pubsub", "default", { maxDeliveries: "0" }, "maxDeliveries", /"0": must be above 0$/],
    ["pubsub", "default", { maxDeliveries: "1.5" }, "maxDeliveries", /"1\.5": must be a whole number$/],
    ["logs", "audit", { maxAgeMs: "-1" }, "maxAgeMs", /"-1": must be above 0$/],
    ["services", "inventory", { url: "ftp://x" }, "url", /"ftp:\/\/x": must be an http or https URL$/],
    ["services", "inventory", { url: "http://me:pw@x" }, "url", /must not contain a user or a password$/],
    ["bindings", "out", { timeoutMs: "5" }, "url", /must be an http or https URL$/],
    ["bindings", "out", { type: "echo" }, "type", /"echo": must stay "http", or be left out$/],
    ["sequencer", "default", { segment: "2000000" }, "segment", /must be at most 1000000$/],
    ["sequencer", "default", { biggerThan: "12" }, "biggerThan", /must be an object of keys and numbers$/],
    ["sequencer", "default", { biggerThan: '{"a":"x"}' }, "biggerThan", /must be a whole number$/],
  ];
  for (const [kind, name, metadata, setting, why] of cases) {
    const error = await failure(at.apply(kind, name, metadata));
    assert.equal(error.code, Code.InvalidArgument, setting);
    assert.match(error.rawMessage, why);
    const field = error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field;
    assert.equal(field, `component_config.metadata["${setting}"]`);
  }
});

test("ApplyConfiguration: a kind that cannot change is invalid_argument, secrets above all", async () => {
  await using at = await open();
  const kinds = ["secrets", "secret_store", "state", "lock", "files", "file", "oss", "configuration"];
  for (const kind of [...kinds, "config_store", "apps", "maps"]) {
    const error = await failure(at.apply(kind, "vault", { type: "env", allow: "*" }));
    assert.equal(error.code, Code.InvalidArgument, kind);
    assert.match(
      error.rawMessage,
      new RegExp(`^component_config.kind "${kind}": cannot change at run time; those`),
    );
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, "component_config.kind");
  }
});

test("ApplyConfiguration: kind, name and metadata are required", async () => {
  await using at = await open();
  const cases = [
    [at.lifecycle.applyConfiguration({}), "component_config"],
    [at.apply("", "helloworld", { hello: "x" }), "component_config.kind"],
    [at.apply("hello", "", { hello: "x" }), "component_config.name"],
    [at.apply("hello", "helloworld", {}), "component_config.metadata"],
  ] as const;
  for (const [call, field] of cases) {
    const error = await failure(call);
    assert.equal(error.code, Code.InvalidArgument);
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, field);
  }
});
