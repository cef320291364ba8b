import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { Code, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { utf8 } from "../../src/lib/utf8.js";
import type { ConfigInput } from "../../src/server/index.js";
import { httpApp } from "../support/http-app.js";
import { openInProcess } from "../support/protocols.js";
import { failure } from "./failure.js";

/** A server whose binding `out` leads to `url`. */
async function open(url: string, settings: { timeoutMs?: number } = {}, config: ConfigInput = {}) {
  const bindings = { echo: { type: "echo" as const }, out: { type: "http" as const, url, ...settings } };
  const at = await openInProcess({ config: { ...config, bindings } });
  const runtime = createClient(Runtime, at.transport);
  const invoke = (operation: string, metadata: Record<string, string> = {}, data = "", name = "out") =>
    runtime.invokeBinding({ name, operation, metadata, data: utf8(data) });
  return { invoke, [Symbol.asyncDispose]: at[Symbol.asyncDispose] };
}

test("InvokeBinding: no connection, no answer in timeoutMs and a torn answer are unavailable, without an address", async () => {
  const tcp = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
  await once(tcp, "listening");
  const refused = await httpApp();
  await refused[Symbol.asyncDispose]();
  const torn = `http://127.0.0.1:${(tcp.address() as { port: number }).port}`;
  await using silent = await httpApp(() => {});
  await using half = await httpApp((_asked, response) => {
    response.writeHead(200, { "content-length": "100" }).write("half");
    setTimeout(() => response.destroy(), 10);
  });
  for (const url of [refused.url, torn, silent.url, half.url]) {
    // Only what never answers is waited for as long as it may take.
    await using at = await open(url, { timeoutMs: url === silent.url ? 100 : 10_000 });
    const error = await failure(at.invoke("post"));
    assert.equal(error.code, Code.Unavailable, url);
    assert.match(error.rawMessage, url === silent.url ? /did not answer in 100 ms/ : /cannot be reached/);
    assert.doesNotMatch(JSON.stringify([error.message, ...error.metadata]), /127\.0\.0\.1/);
  }
  tcp.close();
});

test("InvokeBinding: an answer above limits.valueBytes is resource_exhausted", async () => {
  await using app = await httpApp(({ url }, response) => response.end("x".repeat(Number(url.slice(1)))));
  await using at = await open(app.url, {}, { limits: { valueBytes: 1000 } });
  assert.equal((await at.invoke("get", { path: "1000" })).data.length, 1000);
  for (const path of ["1001", "10000000"]) {
    const error = await failure(at.invoke("get", { path }));
    assert.equal(error.code, Code.ResourceExhausted);
    assert.deepEqual(error.findDetails(ErrorInfoSchema)[0]?.metadata, { limit: "valueBytes", most: "1000" });
  }
});
