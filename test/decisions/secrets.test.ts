import assert from "node:assert/strict";
import { Code, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { httpStatus } from "../../src/client/errors.js";
import { silent } from "../../src/server/context.js";
import type { ConfigInput, Logger, Platform } from "../../src/server/index.js";
import { openInProcess } from "../support/protocols.js";
import { failure } from "./failure.js";

/** A server with one secret store, and everything that it logs as one text. */
async function open(store: NonNullable<ConfigInput["secrets"]>[string], platform: Partial<Platform> = {}) {
  const lines: string[] = [];
  const write = (fields: object, message: string) => {
    const shown = (_key: string, value: unknown) =>
      value instanceof Error ? `${value.stack} ${value.cause}` : value;
    lines.push(message + JSON.stringify(fields, shown));
  };
  // The lines of the calls themselves are the subject of test/telemetry-log.test.ts.
  const log: Logger = { ...silent, warn: write, error: write };
  const at = await openInProcess({ config: { secrets: { vault: store } }, platform, log });
  const runtime = createClient(Runtime, at.transport);
  const get = (key: string) => runtime.getSecret({ storeName: "vault", key });
  const getAll = async () => {
    const { data } = await runtime.getBulkSecret({ storeName: "vault" });
    return Object.fromEntries(Object.entries(data).map(([name, { secrets }]) => [name, { ...secrets }]));
  };
  return { get, getAll, lines, [Symbol.asyncDispose]: at[Symbol.asyncDispose] };
}

const file = (text: string) =>
  open({ type: "file", path: "/etc/vault.json" }, { readFile: async () => text });

test("secrets: an env store shows the names on its list and nothing else", async () => {
  const env = { DB_URL: "postgres", APP_A: "1", APP_B: "", APPLE: "x", HOME: "/root", GONE: undefined };
  await using at = await open({ type: "env", allow: ["DB_URL", "APP_*", "GONE"] }, { env });
  assert.deepEqual({ ...(await at.get("DB_URL")).data }, { DB_URL: "postgres" });
  assert.deepEqual({ ...(await at.get("APP_B")).data }, { APP_B: "" });
  assert.deepEqual(await at.getAll(), {
    DB_URL: { DB_URL: "postgres" },
    APP_A: { APP_A: "1" },
    APP_B: { APP_B: "" },
  });
});

test("secrets: a name that is not allowed cannot be told from one that is not there", async () => {
  const env = { SECRET: "s3cr3t", APP_A: "1" };
  await using at = await open({ type: "env", allow: ["APP_*"] }, { env });
  const told = async (key: string) => {
    const { code, rawMessage, details, metadata } = await failure(at.get(key));
    metadata.delete("fairlead-request-id");
    const info = JSON.stringify([code, rawMessage, details.length, [...metadata]]);
    return info.replaceAll(key, "<key>");
  };
  assert.equal(await told("SECRET"), await told("NOSUCH"));
  assert.equal(await told("APP_"), await told("NOPE"));
  assert.equal((await failure(at.get("SECRET"))).code, Code.NotFound);
  assert.deepEqual(at.lines, []);
});

test("secrets: what every object has is not a secret", async () => {
  await using env = await open({ type: "env", allow: ["*"] }, { env: { A: "1" } });
  await using values = await open({ type: "values", values: { A: "1" } });
  await using json = await file('{"A":"1"}');
  for (const at of [env, values, json]) {
    for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      assert.equal((await failure(at.get(name))).code, Code.NotFound, name);
    }
    assert.deepEqual(await at.getAll(), { A: { A: "1" } });
  }
});

test("secrets: a file store is JSON, nested names joined by a colon, numbers as they are written", async () => {
  await using at = await file(
    `\uFEFF{ "db": { "password": "p:\\"1\\" 2", "port": 5432, "tls": true, "none": null, "list": ["a", {"b": "c"}] },
       "account": 12345678901234567890, "rate": -1.50e+3, "1": "2", "": { "x": "y" }, "__proto__": "odd" }`,
  );
  assert.deepEqual(Object.fromEntries(Object.entries(await at.getAll()).map(([k, v]) => [k, v[k]])), {
    "1": "2",
    "db:password": 'p:"1" 2',
    "db:port": "5432",
    "db:tls": "true",
    "db:list:0": "a",
    "db:list:1:b": "c",
    account: "12345678901234567890",
    rate: "-1.50e+3",
    ":x": "y",
    ["__proto__"]: "odd",
  });
  assert.equal(Object.values((await at.get("__proto__")).data)[0], "odd");
  assert.equal((await failure(at.get("db"))).code, Code.NotFound);
});

test("secrets: values never in logs, errors or the console, also where the file is broken", async () => {
  for (const text of [
    '{"db": "s3cr3t',
    '"s3cr3t"',
    '["s3cr3t"]',
    "s3cr3t",
    '{"db": s3cr3t}',
    '{"a": 01}',
    "",
  ]) {
    await using at = await file(text);
    for (const call of [at.get("db"), at.getAll()]) {
      const error = await failure(call);
      assert.equal(error.code, Code.Unavailable, text);
      assert.equal(error.rawMessage, 'secret store "vault" cannot be read');
      assert.equal(error.findDetails(RetryInfoSchema).length, 1);
      assert.doesNotMatch(JSON.stringify(error.findDetails(ErrorInfoSchema)), /etc|s3cr3t/);
      assert.equal(httpStatus(error), undefined);
    }
    assert.equal(at.lines.length, 2);
    for (const line of at.lines) {
      assert.match(line, /vault\.json/);
      assert.doesNotMatch(line, /s3cr3t/);
    }
  }
});

test("secrets: a missing file is told in the log, not to the client", async () => {
  const readFile = async () => {
    throw new Error("ENOENT: no such file, open '/etc/vault.json'");
  };
  await using at = await open({ type: "file", path: "/etc/vault.json" }, { readFile });
  const error = await failure(at.get("db"));
  assert.equal(error.code, Code.Unavailable);
  assert.doesNotMatch(JSON.stringify([error.message, ...error.metadata]), /etc|ENOENT/);
  assert.match(at.lines.join(), /ENOENT/);
});
