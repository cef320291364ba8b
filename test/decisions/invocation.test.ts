import assert from "node:assert/strict";
import { Code, createClient } from "@connectrpc/connect";
import fc from "fast-check";
import { test } from "vitest";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Runtime, HTTPExtension_Verb as Verb } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../src/internal/utf8.js";
import type { ConfigInput } from "../../src/server/index.js";
import { urlUnder } from "../../src/server/services/http.js";
import { openHere } from "../doors.js";
import { type Asked, type HttpApp, httpApp } from "../http-app.js";
import { failure } from "./failure.js";

const last = ({ asked }: HttpApp): Asked => asked.at(-1) ?? assert.fail("nothing was asked");

interface Call {
  verb?: Verb;
  query?: string;
  data?: string;
  type?: string;
  headers?: HeadersInit;
  id?: string;
}

/** A server whose service `inventory` leads to `url`. */
async function open(url: string, config: ConfigInput = {}) {
  const at = await openHere({ config: { ...config, services: { inventory: { url } } } });
  const runtime = createClient(Runtime, at.transport);
  let headers = new Headers();
  const onHeader = (told: Headers) => {
    headers = told;
  };
  const invoke = async (
    method: string,
    { verb, query, data, type, headers: own, id = "inventory" }: Call = {},
  ) => {
    const httpExtension = { verb: verb ?? Verb.NONE, querystring: query ?? "" };
    const message = {
      method,
      contentType: type ?? "",
      ...(data !== undefined && { data: { value: utf8(data) } }),
      ...((verb !== undefined || query !== undefined) && { httpExtension }),
    };
    const answer = await runtime.invokeService({ id, message }, { onHeader, ...(own && { headers: own }) });
    return { ...answer, headers, text: fromUtf8(answer.data?.value ?? new Uint8Array()) };
  };
  return { runtime, invoke, [Symbol.asyncDispose]: at[Symbol.asyncDispose] };
}

test("InvokeService: id maps to a configured base URL, and to nothing that is not configured", async () => {
  await using app = await httpApp();
  await using at = await open(`${app.url}/api/`);
  await at.invoke("/items/7");
  assert.equal(last(app).url, "/api/items/7");
  for (const id of ["nope", app.url, "127.0.0.1", "__proto__", "constructor", "inventory ", "INVENTORY"]) {
    const error = await failure(at.invoke("/", { id }));
    assert.equal(error.code, Code.InvalidArgument, id);
    assert.match(error.rawMessage, /^service ".*" is not configured; configured: "inventory"$/);
    assert.deepEqual(error.findDetails(ErrorInfoSchema)[0]?.metadata, { kind: "service", name: id });
  }
  assert.equal(app.asked.length, 1);
});

test("InvokeService: required fields are id, message and method", async () => {
  await using at = await open("http://127.0.0.1:1");
  const cases = [
    [at.runtime.invokeService({ message: { method: "/" } }), "id"],
    [at.runtime.invokeService({ id: "inventory" }), "message"],
    [at.runtime.invokeService({ id: "inventory", message: {} }), "message.method"],
    [at.invoke("/", { verb: 99 as never }), "message.http_extension.verb"],
    [at.invoke("/", { type: "a\r\nb" }), "message.content_type"],
  ] as const;
  for (const [call, field] of cases) {
    const error = await failure(call);
    assert.equal(error.code, Code.InvalidArgument, field);
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, field);
  }
});

test("InvokeService: status, headers and body come back, whatever the status", async () => {
  await using app = await httpApp(({ url }, response) => {
    const headers = {
      "content-type": "a/b",
      "x-one": "1",
      "set-cookie": ["a=1", "b=2"],
      "x-latin": "\u00fc",
      location: "/elsewhere",
    };
    response.writeHead(Number(url.slice(1)), {
      ...headers,
      status: "200 Fine",
      connection: "x-hop",
      "x-hop": "1",
    });
    response.end("body");
  });
  await using at = await open(app.url);
  for (const status of [200, 201, 302, 400, 404, 418, 500, 503, 599]) {
    const { headers, text, contentType, data } = await at.invoke(`/${status}`);
    assert.equal(headers.get("fairlead-http-status"), String(status));
    assert.deepEqual([text, contentType, data?.typeUrl], ["body", "a/b", ""]);
    assert.equal(headers.get("fairlead-http-x-one"), "1");
    assert.equal(headers.get("fairlead-http-content-type"), "a/b");
    assert.equal(headers.get("fairlead-http-set-cookie"), "a=1, b=2");
    assert.equal(headers.get("fairlead-http-x-latin"), "\u00fc");
    for (const name of ["x-hop", "connection", "keep-alive", "transfer-encoding", "content-length"]) {
      assert.equal(headers.has(`fairlead-http-${name}`), false, name);
    }
  }
  assert.ok(
    app.asked.every(({ url }) => /^\/\d+$/.test(url)),
    "a redirect was followed",
  );
});

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

test("InvokeService: the method is that of http_extension, else GET, or POST where there is data", async () => {
  await using app = await httpApp();
  await using at = await open(app.url);
  const method = async (call: Call) => {
    await at.invoke("/", call);
    const { method, body } = last(app);
    return `${method} ${body}`;
  };
  assert.equal(await method({}), "GET ");
  assert.equal(await method({ data: "x" }), "POST x");
  assert.equal(await method({ data: "" }), "POST ");
  assert.equal(await method({ verb: Verb.NONE }), "GET ");
  assert.equal(await method({ verb: Verb.NONE, data: "x" }), "POST x");
  for (const verb of ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] as const) {
    assert.equal(await method({ verb: Verb[verb], data: "x" }), `${verb} x`);
    assert.equal(await method({ verb: Verb[verb] }), `${verb} `);
  }
  for (const verb of ["GET", "HEAD", "TRACE"] as const) {
    assert.equal(await method({ verb: Verb[verb] }), `${verb} `);
    assert.equal((await failure(at.invoke("/", { verb: Verb[verb], data: "x" }))).code, Code.InvalidArgument);
  }
  assert.equal((await failure(at.invoke("/", { verb: Verb.CONNECT }))).code, Code.InvalidArgument);
});

test("InvokeService: query and media type go to the app", async () => {
  await using app = await httpApp();
  await using at = await open(`${app.url}/api?key=1`);
  await at.invoke("items", { query: "a=%20&b=#c", data: "<a/>", type: "text/xml" });
  assert.equal(last(app).url, "/api/items?key=1&a=%20&b=%23c");
  assert.equal(last(app).headers["content-type"], "text/xml");
  await at.invoke("items", { query: "?a=1" });
  assert.equal(last(app).url, "/api/items?key=1&a=1");
});

test("InvokeService: the app gets the call's headers, without those that are the call's own", async () => {
  await using app = await httpApp();
  await using at = await open(app.url);
  const kept = { "x-mark": "1", traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
  const own = {
    authorization: "Bearer server",
    cookie: "session=server",
    origin: "https://page.example",
    "fairlead-fence": "a/b=1",
    "grpc-timeout": "1S",
    "x-grpc-web": "1",
    "sec-fetch-site": "cross-site",
    "proxy-authorization": "x",
    connection: "x-hop",
    "x-hop": "1",
    upgrade: "websocket",
    expect: "100-continue",
  };
  await at.invoke("/", { headers: { ...kept, ...own } });
  const { headers } = last(app);
  for (const [name, value] of Object.entries(kept)) assert.equal(headers[name], value);
  for (const [name, value] of Object.entries(own)) assert.notEqual(headers[name], value, name);
  assert.ok(Object.keys(headers).every((name) => !/^(connect|fairlead|grpc)-/.test(name)));
});

test("InvokeService: a header with the prefix fairlead-http- goes to the app without it", async () => {
  await using app = await httpApp();
  await using at = await open(app.url);
  const sent = {
    authorization: "Bearer app",
    cookie: "a=1",
    origin: "https://x.example",
    "x-mark": "prefixed",
  };
  const prefixed = Object.entries(sent).map(([name, value]): [string, string] => [
    `fairlead-http-${name}`,
    value,
  ]);
  const bad = ["host", "connection", "content-length", "transfer-encoding", "te", "expect", "upgrade"];
  const smuggled = bad.map((name): [string, string] => [`fairlead-http-${name}`, "9"]);
  await at.invoke("/", {
    data: "body",
    headers: [...prefixed, ...smuggled, ["x-mark", "bare"], ["authorization", "Bearer server"]],
  });
  const { headers, body } = last(app);
  for (const [name, value] of Object.entries(sent)) assert.equal(headers[name], value);
  assert.equal(headers.host, new URL(app.url).host);
  assert.equal(headers["content-length"], "4");
  assert.equal(body, "body");
});

test("InvokeService: no open proxy: no method leads out of the configured URL", async () => {
  await using app = await httpApp();
  await using at = await open(`${app.url}/api`);
  const refused = [
    "..",
    "../admin",
    "/../admin",
    "/a/../../admin",
    "/a/..",
    "/%2e%2e/admin",
    "/%2E./admin",
    "/..%2fadmin",
    "/%2e%2e%2fadmin",
    "/%252e%252e/admin",
    "/%25252e%25252e%25252fadmin",
    "/..%5cadmin",
    "/..;/admin",
    "/..;a=b/admin",
    "/%c0%ae%c0%ae/admin",
    "/..%c0%afadmin",
    "\\..\\admin",
    "\\\\evil.example",
    "//evil.example",
    "///evil.example",
    "http://evil.example/",
    "HTTPS://evil.example",
    "file:///etc/passwd",
    "javascript:x",
    "http:evil",
    "/a?b=c",
    "/a#b",
    "/a\r\nHost: evil",
    "/a\tb",
    "/\u0000",
    "/.\t./admin",
    "/%",
    "/%zz",
  ];
  for (const method of refused) {
    const error = await failure(at.invoke(method));
    assert.equal(error.code, Code.InvalidArgument, method);
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, "message.method");
  }
  assert.equal(app.asked.length, 0);
  const allowed = { "@evil.example": "/api/@evil.example", "/items:batch": "/api/items:batch", "/": "/api/" };
  for (const [method, url] of Object.entries({ ...allowed, "/a//b": "/api/a//b", "/ü": "/api/%C3%BC" })) {
    await at.invoke(method);
    assert.equal(last(app).url, url);
  }
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
          seen = seen.replace(/%(25|2e|2f|5c)/gi, (code) => decodeURIComponent(code));
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
  assert.equal((await failure(at.invoke("/0", { data: "x".repeat(1001) }))).code, Code.ResourceExhausted);
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
