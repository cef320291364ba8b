import assert from "node:assert/strict";
import { Code, createClient } from "@connectrpc/connect";
import fc from "fast-check";
import { test } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import type { ConfigInput } from "../../src/server/index.js";
import { urlUnder } from "../../src/server/services/shared/http-client.js";
import { httpApp } from "../support/http-app.js";
import { openInProcess } from "../support/protocols.js";
import { failure } from "./failure.js";

/** A server whose service `inventory` leads to `url`. */
async function open(url: string, config: ConfigInput = {}) {
  const at = await openInProcess({ config: { ...config, services: { inventory: { url } } } });
  const runtime = createClient(Runtime, at.transport);
  let headers = new Headers();
  const onHeader = (told: Headers) => {
    headers = told;
  };
  const invoke = async (method: string, data?: string) => {
    const message = { method, ...(data !== undefined && { data: { value: utf8(data) } }) };
    const answer = await runtime.invokeService({ id: "inventory", message }, { onHeader });
    return { ...answer, headers, text: fromUtf8(answer.data?.value ?? new Uint8Array()) };
  };
  return { runtime, invoke, [Symbol.asyncDispose]: at[Symbol.asyncDispose] };
}

test("InvokeService: a body that came compressed goes on as it was before", async () => {
  const { gzipSync } = await import("node:zlib");
  await using app = await httpApp((_asked, response) => {
    response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("plain"));
  });
  await using at = await open(app.url);
  const { text, headers } = await at.invoke("/");
  assert.equal(text, "plain");
  assert.equal(headers.has("fairlead-http-content-encoding"), false);
});

test("InvokeService: no open proxy: a path, whatever it is, stays below or is refused", () => {
  const base = "http://inventory.internal:8080/api";
  const hostile = fc.array(
    fc.constantFrom(
      "..",
      ".",
      "/",
      "\\",
      "%2e",
      "%2f",
      "%5c",
      "%25",
      "%2e%2e",
      "%252e%252e",
      "..%2f",
      "2e",
      "//",
      "@",
      ":",
      "?",
      "#",
      "http:",
      "a",
      "\t",
      ";",
      "%00",
      "%2500",
      "%09",
    ),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(
      fc.oneof(
        hostile.map((parts) => parts.join("")),
        fc.string({ unit: "binary" }),
      ),
      (path) => {
        let url: URL;
        try {
          url = urlUnder(base, path, "q=1", "method");
        } catch {
          return;
        }
        assert.equal(url.origin, new URL(base).origin);
        assert.equal(url.username + url.password + url.hash, "");
        assert.equal(url.search, "?q=1");
        assert.ok(url.pathname.startsWith("/api/"), url.href);
        // As what is behind it may read it: decoded, and resolved again.
        for (let seen = url.pathname, n = 0; n < 4; n++) {
          assert.ok(new URL(seen.replaceAll("\\", "/"), "http://x").pathname.startsWith("/api/"), url.href);
          seen = seen.replace(/%(25|2e|2f|5c|0\d)/gi, (code) => decodeURIComponent(code));
          assert.ok(!seen.includes("\0"), url.href);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("InvokeService: an answer, or data, above limits.valueBytes is resource_exhausted", async () => {
  await using app = await httpApp(({ url }, response) => response.end("x".repeat(Number(url.slice(1)))));
  await using at = await open(app.url, { limits: { valueBytes: 1000 } });
  assert.equal((await at.invoke("/1000")).text.length, 1000);
  assert.equal((await failure(at.invoke("/1001"))).code, Code.ResourceExhausted);
  assert.equal((await failure(at.invoke("/0", "x".repeat(1001)))).code, Code.ResourceExhausted);
});

test("InvokeService: an app that cannot be reached is unavailable, and its address stays here", async () => {
  const app = await httpApp();
  await app[Symbol.asyncDispose]();
  await using at = await open(app.url);
  const error = await failure(at.invoke("/"));
  assert.equal(error.code, Code.Unavailable);
  assert.equal(error.rawMessage, 'service "inventory" cannot be reached');
  assert.doesNotMatch(JSON.stringify([error.message, ...error.metadata]), /127\.0\.0\.1/);
});
