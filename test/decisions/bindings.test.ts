import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { Code, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../src/internal/utf8.js";
import type { ConfigInput } from "../../src/server/index.js";
import { openHere } from "../doors.js";
import { type HttpApp, httpApp } from "../http-app.js";
import { failure } from "./failure.js";

/** A server whose binding `out` leads to `url`. */
async function open(url: string, settings: { timeoutMs?: number } = {}, config: ConfigInput = {}) {
  const bindings = { echo: { type: "echo" as const }, out: { type: "http" as const, url, ...settings } };
  const at = await openHere({ config: { ...config, bindings } });
  const runtime = createClient(Runtime, at.transport);
  const invoke = (operation: string, metadata: Record<string, string> = {}, data = "", name = "out") =>
    runtime.invokeBinding({ name, operation, metadata, data: utf8(data) });
  return { invoke, [Symbol.asyncDispose]: at[Symbol.asyncDispose] };
}

const last = ({ asked }: HttpApp) => asked.at(-1) ?? assert.fail("nothing was asked");

test("InvokeBinding: configured bindings only", async () => {
  await using at = await open("http://127.0.0.1:1");
  for (const name of ["nope", "http", "__proto__", "constructor", "http://127.0.0.1:1"]) {
    const error = await failure(at.invoke("get", {}, "", name));
    assert.equal(error.code, Code.InvalidArgument);
    assert.match(error.rawMessage, /is not configured; configured: "echo", "out"$/);
    assert.deepEqual(error.findDetails(ErrorInfoSchema)[0]?.metadata, { kind: "binding", name });
  }
});

test("InvokeBinding: echo answers what was sent, for any operation", async () => {
  await using at = await open("http://127.0.0.1:1");
  const { data, metadata } = await at.invoke("any Operation at all", { a: "1", Host: "x" }, "data", "echo");
  assert.equal(fromUtf8(data), "data");
  assert.deepEqual({ ...metadata }, { a: "1", Host: "x" });
});

test("InvokeBinding: http has these operations and no others", async () => {
  await using app = await httpApp(({ method }, response) =>
    response.writeHead(200, { "x-method": method }).end(),
  );
  await using at = await open(app.url);
  const methods = {
    create: "POST",
    get: "GET",
    head: "HEAD",
    post: "POST",
    put: "PUT",
    patch: "PATCH",
    delete: "DELETE",
    options: "OPTIONS",
    trace: "TRACE",
  };
  for (const [operation, method] of Object.entries(methods)) {
    const { metadata } = await at.invoke(operation, {}, "body");
    assert.equal(metadata["X-Method"], method);
    const withBody = ["POST", "PUT", "PATCH"].includes(method);
    assert.equal(last(app).body, withBody ? "body" : "", method);
    assert.equal(last(app).headers["content-type"], withBody ? "application/json" : undefined);
    assert.equal(last(app).headers.accept, "application/json");
  }
  for (const operation of ["Get", "GET", "connect", "list", "__proto__"]) {
    const error = await failure(at.invoke(operation));
    assert.equal(error.code, Code.InvalidArgument);
    assert.match(
      error.rawMessage,
      /must be one of create, get, head, post, put, patch, delete, options, trace$/,
    );
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, "operation");
  }
});

test("InvokeBinding: path is appended to the configured URL, which nothing leaves", async () => {
  await using app = await httpApp();
  await using at = await open(`${app.url}/base/?key=1`);
  const allowed = {
    "": "/base/?key=1",
    "/": "/base/?key=1",
    "a/b": "/base/a/b?key=1",
    "/a b/ü": "/base/a%20b/%C3%BC?key=1",
    "a?x=1&y=?": "/base/a?key=1&x=1&y=?",
    "...": "/base/...?key=1",
    "a..b": "/base/a..b?key=1",
    "100%25": "/base/100%25?key=1",
  };
  for (const [path, url] of Object.entries(allowed)) {
    await at.invoke("get", { path });
    assert.equal(last(app).url, url, path);
  }
  const before = app.asked.length;
  for (const path of [
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "%2e%2e/x",
    ".%2E/x",
    "a/%252e%252e/x",
    "..%2fx",
    "..;/x",
    "..\\x",
    "//evil.example/x",
    "http://evil.example/",
    "HTTP:/x",
    "javascript:alert(1)",
    "a#b",
    "a\tb",
    "a\r\nb",
    "%c0%ae%c0%ae/x",
    "100%",
  ]) {
    const error = await failure(at.invoke("get", { path }));
    assert.equal(error.code, Code.InvalidArgument, path);
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, 'metadata["path"]');
  }
  assert.equal(app.asked.length, before);
});

test("InvokeBinding: metadata that begins with an upper-case letter becomes headers", async () => {
  await using app = await httpApp();
  await using at = await open(app.url);
  const metadata = { "X-Mark": "1", Accept: "text/plain", "Content-Type": "a/b", small: "2", "x-small": "3" };
  await at.invoke("post", metadata, "x");
  const { headers } = last(app);
  const seen = [
    headers["x-mark"],
    headers.accept,
    headers["content-type"],
    headers["small"],
    headers["x-small"],
  ];
  assert.deepEqual(seen, ["1", "text/plain", "a/b", undefined, undefined]);
  const before = app.asked.length;
  for (const name of [
    "Host",
    "Connection",
    "Transfer-Encoding",
    "Content-Length",
    "Te",
    "Upgrade",
    "Expect",
  ]) {
    const error = await failure(at.invoke("post", { [name]: "1" }));
    assert.equal(error.code, Code.InvalidArgument, name);
    assert.match(error.rawMessage, new RegExp(name));
  }
  for (const [name, value] of [
    ["X-A", "s3cr3t\r\nX-B: 1"],
    ["X A", "s3cr3t"],
    ["X:", "s3cr3t"],
  ] as const) {
    const error = await failure(at.invoke("post", { [name]: value }));
    assert.equal(error.code, Code.InvalidArgument);
    assert.doesNotMatch(JSON.stringify([error.message, error.findDetails(BadRequestSchema)]), /s3cr3t/);
  }
  assert.equal(app.asked.length, before);
});

test("InvokeBinding: the answer's status and headers are metadata", async () => {
  await using app = await httpApp((_asked, response) => {
    const headers = {
      "content-type": "text/x",
      "set-cookie": ["a=1", "b=2"],
      status: "odd",
      connection: "x-hop",
    };
    response.writeHead(202, { ...headers, "x-hop": "1", "keep-alive": "timeout=1" }).end("body");
  });
  await using at = await open(app.url);
  const { data, metadata } = await at.invoke("get");
  const { Date: date, ...rest } = metadata;
  assert.ok(date);
  assert.deepEqual(rest, {
    "Content-Type": "text/x",
    "Set-Cookie": "a=1, b=2",
    Status: "odd",
    status: "202 Accepted",
    statusCode: "202",
  });
  assert.equal(fromUtf8(data), "body");
});

test("InvokeBinding: an answer that is no success is an error with its status, unless errorIfNot2XX is false", async () => {
  const codes = new Map([
    [400, Code.InvalidArgument],
    [401, Code.PermissionDenied],
    [403, Code.PermissionDenied],
    [404, Code.NotFound],
    [409, Code.Aborted],
    [412, Code.Aborted],
    [422, Code.InvalidArgument],
    [429, Code.ResourceExhausted],
    [500, Code.Internal],
    [501, Code.Unimplemented],
    [503, Code.Unavailable],
    [302, Code.FailedPrecondition],
    [304, Code.FailedPrecondition],
  ]);
  let status = 200;
  await using app = await httpApp((_asked, response) => {
    response.writeHead(status, { location: "/elsewhere" }).end(status === 304 ? "" : "why");
  });
  await using at = await open(app.url);
  for (const [answered, code] of codes) {
    status = answered;
    const error = await failure(at.invoke("get"));
    assert.equal(error.code, code, String(status));
    assert.equal(error.findDetails(ErrorInfoSchema)[0]?.metadata["statusCode"], String(status));
    assert.match(error.rawMessage, new RegExp(`^binding "out" answered ${status} `));
    const { data, metadata } = await at.invoke("get", { errorIfNot2XX: "false" });
    assert.equal(metadata["statusCode"], String(status));
    assert.equal(fromUtf8(data), status === 304 ? "" : "why");
  }
  assert.ok(
    app.asked.every(({ url }) => url === "/"),
    "a redirect was followed",
  );
  assert.equal((await failure(at.invoke("get", { errorIfNot2XX: "no" }))).code, Code.InvalidArgument);
});

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
