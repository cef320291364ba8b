import assert from "node:assert/strict";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Runtime, StateOptions_StateConcurrency } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { sleep } from "../../src/internal/timer.js";
import { utf8 } from "../../src/internal/utf8.js";
import { silent } from "../../src/server/context.js";
import { openHere } from "../doors.js";

const { CONCURRENCY_FIRST_WRITE: FIRST_WRITE, CONCURRENCY_LAST_WRITE: LAST_WRITE } =
  StateOptions_StateConcurrency;
const storeName = "default";

async function open() {
  const at = await openHere();
  const runtime = createClient(Runtime, at.transport);
  const save = (key: string, value: string, rest: object = {}) =>
    runtime.saveState({ storeName, states: [{ key, value: utf8(value), ...rest }] });
  const get = (key: string) => runtime.getState({ storeName, key });
  return { runtime, save, get, [Symbol.asyncDispose]: at[Symbol.asyncDispose] };
}

/** The error that a call fails with. */
async function failure(call: Promise<unknown>): Promise<ConnectError> {
  const error = await call.then(
    () => assert.fail("it did not fail"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ConnectError);
  return error;
}

test("a required field is empty, an enum number or a number is out of range, a name is malformed: invalid_argument, naming the field", async () => {
  await using at = await open();
  const cases: [call: Promise<unknown>, field: string][] = [
    [at.runtime.getState({ storeName, key: "" }), "key"],
    [at.runtime.getState({ storeName: "", key: "k" }), "store_name"],
    [at.runtime.getState({ storeName: "a\u0000b", key: "k" }), "store_name"],
    [at.runtime.getState({ storeName, key: "k", consistency: 99 as never }), "consistency"],
    [at.save("k", "v", { options: { concurrency: 7 as never } }), "states[0].options.concurrency"],
    [at.runtime.saveState({ storeName, states: [{ key: "a" }, { key: "" }] }), "states[1].key"],
    [
      at.runtime.executeStateTransaction({ storeName, operations: [{ operationType: "upsert" }] }),
      "operations[0].request",
    ],
  ];
  for (const [call, field] of cases) {
    const error = await failure(call);
    assert.equal(error.code, Code.InvalidArgument, field);
    assert.match(error.rawMessage, new RegExp(field.replace(/[[\]]/g, "\\$&")));
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, field);
  }
});

test("unknown store, pubsub, binding, hello or app: invalid_argument, naming those that are configured", async () => {
  await using at = await open();
  for (const name of ["nope", "__proto__", "constructor"]) {
    const error = await failure(at.runtime.getState({ storeName: name, key: "k" }));
    assert.equal(error.code, Code.InvalidArgument);
    assert.equal(error.rawMessage, `state store "${name}" is not configured; configured: "default"`);
  }
});

test("etag, version or fence does not match: aborted, with the key and the current etag", async () => {
  await using at = await open();
  await at.save("k", "1");
  const { etag } = await at.get("k");
  const calls: ((client: Client<typeof Runtime>) => Promise<unknown>)[] = [
    (client) => client.saveState({ storeName, states: [{ key: "k", etag: { value: "999" } }] }),
    (client) => client.deleteState({ storeName, key: "k", etag: { value: "999" } }),
    (client) => client.deleteBulkState({ storeName, states: [{ key: "k", etag: { value: "999" } }] }),
    (client) =>
      client.executeStateTransaction({
        storeName,
        operations: [{ operationType: "delete", request: { key: "k", etag: { value: "999" } } }],
      }),
  ];
  for (const call of calls) {
    const error = await failure(call(at.runtime));
    assert.equal(error.code, Code.Aborted);
    const info = error.findDetails(ErrorInfoSchema)[0];
    assert.deepEqual([info?.metadata["key"], info?.metadata["etag"]], ["k", etag]);
  }
});

test("malformed etag or version: invalid_argument", async () => {
  await using at = await open();
  for (const value of ["x", "-1", "1.5", "99999999999999999999999"]) {
    assert.equal((await failure(at.save("k", "v", { etag: { value } }))).code, Code.InvalidArgument, value);
    assert.equal((await at.get("k")).etag, "");
  }
});

test("a transaction's operation type is not upsert or delete: invalid_argument, and nothing happens", async () => {
  await using at = await open();
  const operations = [
    { operationType: "upsert", request: { key: "a" } },
    { operationType: "Upsert", request: { key: "b" } },
  ];
  const error = await failure(at.runtime.executeStateTransaction({ storeName, operations }));
  assert.equal(error.code, Code.InvalidArgument);
  assert.match(error.rawMessage, /operations\[1\]\.operationType "Upsert"/);
  assert.equal((await at.get("a")).etag, "");
});

test("a limit is hit (message, key or value size, open streams, rate): resource_exhausted, naming the limit", async () => {
  await using at = await openHere({
    config: { limits: { valueBytes: 10, batchItems: 2, messageBytes: 5000 } },
  });
  const runtime = createClient(Runtime, at.transport);
  const item = (key: string, size = 0) => ({ key, value: new Uint8Array(size) });
  const cases: [Promise<unknown>, RegExp][] = [
    [runtime.getState({ storeName, key: "k".repeat(1025) }), /keyBytes 1024/],
    [runtime.saveState({ storeName, states: [item("k", 11)] }), /valueBytes 10/],
    [runtime.saveState({ storeName, states: [item("a"), item("b"), item("c")] }), /batchItems 2/],
    [runtime.saveState({ storeName, states: [item("k", 6000)] }), /5000/],
  ];
  for (const [call, named] of cases) {
    const error = await failure(call);
    assert.equal(error.code, Code.ResourceExhausted);
    assert.match(error.rawMessage, named);
  }
});

test("the engine is away: unavailable, retryable; detail RetryInfo", async () => {
  const at = await openHere();
  const runtime = createClient(Runtime, at.transport);
  await at.server.close();
  const error = await failure(runtime.getState({ storeName, key: "k" }));
  assert.equal(error.code, Code.Unavailable);
  const { RetryInfoSchema } = await import("../../gen/google/rpc/error_details_pb.js");
  assert.equal(error.findDetails(RetryInfoSchema)[0]?.retryDelay?.nanos, 500_000_000);
});

test("anything else: internal, logged on the server with its cause; never a stack or a path in the message", async () => {
  const { memoryEngine } = await import("../../src/server/engines/memory.js");
  const engine = memoryEngine();
  const logged: object[] = [];
  const broken = new Error("ENOENT /var/secret");
  await using at = await openHere({
    engine: {
      ...engine,
      keys: Object.assign(Object.create(engine.keys), { get: () => Promise.reject(broken) }),
    },
    log: { ...silent, error: (fields) => logged.push(fields) },
  });
  const error = await failure(createClient(Runtime, at.transport).getState({ storeName, key: "k" }));
  assert.equal(error.code, Code.Internal);
  assert.doesNotMatch(error.rawMessage, /ENOENT|secret|at /);
  const reqId = error.metadata.get("fairlead-request-id");
  assert.ok(reqId && error.rawMessage.includes(reqId));
  assert.deepEqual(logged, [{ reqId, method: "spec.proto.runtime.v1.Runtime/GetState", err: broken }]);
});

test("keys: opaque UTF-8, 1 to 1024 bytes; nothing is rewritten, prefixed or folded", async () => {
  await using at = await open();
  const keys = ["a||b", "A", "a", " a ", "ä", "a\u0308", "\u0000\n", "🔑".repeat(256), "k".repeat(1024)];
  for (const [i, key] of keys.entries()) await at.save(key, String(i));
  const { items } = await at.runtime.getBulkState({ storeName, keys });
  assert.deepEqual(
    items.map(({ key, data }) => [key, Buffer.from(data).toString()]),
    keys.map((key, i) => [key, String(i)]),
  );
  assert.equal((await failure(at.save("🔑".repeat(257), ""))).code, Code.ResourceExhausted);
});

test("GetState of a missing key: OK, empty data, empty etag; a stored empty value has an etag", async () => {
  await using at = await open();
  assert.deepEqual([(await at.get("k")).data.length, (await at.get("k")).etag], [0, ""]);
  await at.save("k", "");
  const stored = await at.get("k");
  assert.equal(stored.data.length, 0);
  assert.match(stored.etag, /^[1-9]\d*$/);
});

test('etag: decimal version; unset, "" or "0" means no condition, on saves and deletes alike', async () => {
  await using at = await open();
  for (const etag of [undefined, { value: "" }, { value: "0" }]) {
    await at.save("k", "v", { etag });
    await at.runtime.deleteState({ storeName, key: "k", ...(etag && { etag }) });
    assert.equal((await at.get("k")).etag, "");
  }
});

test("etag given: always enforced, whatever the concurrency option; on a missing key: aborted", async () => {
  await using at = await open();
  await at.save("k", "v");
  for (const concurrency of [0, FIRST_WRITE, LAST_WRITE] as const) {
    const refused = at.save("k", "w", { etag: { value: "77" }, options: { concurrency } });
    assert.equal((await failure(refused)).code, Code.Aborted);
    const { etag } = await at.get("k");
    await at.save("k", "v", { etag: { value: etag }, options: { concurrency } });
  }
  assert.equal((await failure(at.save("missing", "v", { etag: { value: "1" } }))).code, Code.Aborted);
  const removal = at.runtime.deleteState({ storeName, key: "missing", etag: { value: "1" } });
  assert.equal((await failure(removal)).code, Code.Aborted);
});

test("FIRST_WRITE without etag: create only; LAST_WRITE or unspecified without etag: overwrite", async () => {
  await using at = await open();
  const first = { options: { concurrency: FIRST_WRITE } };
  await at.save("k", "1", first);
  assert.equal((await failure(at.save("k", "2", first))).code, Code.Aborted);
  await at.save("k", "3", { options: { concurrency: LAST_WRITE } });
  await at.save("k", "4");
  assert.equal(Buffer.from((await at.get("k")).data).toString(), "4");
});

test("SaveState, DeleteBulkState: a batch is atomic, all or nothing", async () => {
  await using at = await open();
  await at.save("a", "1");
  await at.save("b", "1");
  const stale = { value: "999" };
  const states = [
    { key: "a", value: utf8("2") },
    { key: "b", etag: stale },
  ];
  assert.equal((await failure(at.runtime.saveState({ storeName, states }))).code, Code.Aborted);
  assert.equal((await failure(at.runtime.deleteBulkState({ storeName, states }))).code, Code.Aborted);
  assert.equal(Buffer.from((await at.get("a")).data).toString(), "1");
  await at.runtime.deleteBulkState({ storeName, states: [{ key: "a" }, { key: "b" }, { key: "missing" }] });
  assert.equal((await at.get("b")).etag, "");
});

test("ExecuteStateTransaction: atomic, and later operations on a key see earlier ones of the same transaction", async () => {
  await using at = await open();
  const run = (...operations: [type: string, key: string, value: string, rest?: object][]) =>
    at.runtime.executeStateTransaction({
      storeName,
      operations: operations.map(([operationType, key, value, rest]) => ({
        operationType,
        request: { key, value: utf8(value), ...rest },
      })),
    });
  const create = { options: { concurrency: FIRST_WRITE } };
  await run(["upsert", "k", "1"], ["delete", "k", ""], ["upsert", "k", "2", create]);
  const { data, etag } = await at.get("k");
  assert.equal(Buffer.from(data).toString(), "2");
  assert.equal((await failure(run(["upsert", "n", "1"], ["upsert", "n", "2", create]))).code, Code.Aborted);
  assert.equal((await at.get("n")).etag, "");
  const once = { etag: { value: etag } };
  assert.equal(
    (await failure(run(["upsert", "k", "3", once], ["upsert", "k", "4", once]))).code,
    Code.Aborted,
  );
  await run(["upsert", "k", "3", once], ["upsert", "k", "4"]);
  assert.equal(Buffer.from((await at.get("k")).data).toString(), "4");
});

test("ttlInSeconds (state metadata): sets, clears, is kept; malformed is invalid_argument; expired is missing at once", async () => {
  let nowMs = Date.now();
  const { memoryEngine } = await import("../../src/server/engines/memory.js");
  await using at = await openHere({ engine: memoryEngine({ now: () => nowMs }) });
  const runtime = createClient(Runtime, at.transport);
  const save = (ttl?: string) =>
    runtime.saveState({
      storeName,
      states: [{ key: "k", value: utf8("v"), metadata: ttl === undefined ? {} : { ttlInSeconds: ttl } }],
    });
  const left = async () => {
    const { etag, metadata } = await runtime.getState({ storeName, key: "k" });
    assert.notEqual(etag, "", "it is still there");
    return metadata["ttlRemainingMs"];
  };
  await save();
  assert.equal(await left(), undefined);
  await save("100");
  assert.ok(Math.abs(Number(await left()) - 100_000) < 1000);
  await save();
  assert.ok(Math.abs(Number(await left()) - 100_000) < 1000, "a write without a ttl keeps the one there is");
  await save("0");
  assert.equal(await left(), undefined);
  await save("5");
  await save("-3");
  assert.equal(await left(), undefined);
  for (const bad of ["1.5", "x", "", "1e3"])
    assert.equal((await failure(save(bad))).code, Code.InvalidArgument, bad);
  await save("1");
  nowMs += 1000;
  assert.equal((await runtime.getState({ storeName, key: "k" })).etag, "");
  await sleep(0);
});

test("consistency: STRONG and EVENTUAL both read the latest committed write here", async () => {
  await using at = await open();
  await at.save("k", "v");
  for (const consistency of [0, 1, 2] as const) {
    const { data } = await at.runtime.getState({ storeName, key: "k", consistency });
    assert.equal(Buffer.from(data).toString(), "v");
  }
});

test("GetBulkState: request order, duplicates once each, missing keys as items with empty etag", async () => {
  await using at = await open();
  for (const key of ["a", "b"]) await at.save(key, key);
  for (const parallelism of [-1, 0, 8]) {
    const { items } = await at.runtime.getBulkState({ storeName, keys: ["b", "x", "a", "b"], parallelism });
    assert.deepEqual(
      items.map(({ key, etag }) => [key, etag !== ""]),
      [
        ["b", true],
        ["x", false],
        ["a", true],
      ],
    );
    assert.deepEqual(
      items.map(({ error }) => error),
      ["", "", ""],
    );
  }
  assert.deepEqual((await at.runtime.getBulkState({ storeName, keys: [] })).items, []);
});
