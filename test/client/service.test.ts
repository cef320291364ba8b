import assert from "node:assert/strict";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { test } from "vitest";
import { z } from "zod";
import {
  type InvokeServiceRequest,
  Runtime,
  HTTPExtension_Verb as Verb,
} from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { bytes, SchemaError, text } from "../../src/client/codec.js";
import { httpStatus, unreadableFacts } from "../../src/client/errors.js";
import { withRetry } from "../../src/client/retry.js";
import { createService } from "../../src/client/service.js";
import { type Asked, type HttpApp, httpApp } from "../support/http-app.js";
import { forEachProtocol, type OpenServer, openInProcess } from "../support/protocols.js";

const last = ({ asked }: HttpApp): Asked => asked.at(-1) ?? assert.fail("nothing was asked");

/** An app that answers JSON of what it was asked, and the service that leads to it. */
async function withApp(open: OpenServer, answer?: Parameters<typeof httpApp>[0]) {
  const app = await httpApp(
    answer ??
      (({ method, url, body }, response) => {
        response.writeHead(200, { "content-type": "application/json", etag: '"v1"' });
        response.end(JSON.stringify({ method, url, body }));
      }),
  );
  const at = await open({ config: { services: { inventory: { url: `${app.url}/api` } } } });
  const dispose = async () => {
    await at[Symbol.asyncDispose]();
    await app[Symbol.asyncDispose]();
  };
  const service = createService(at.transport, "inventory");
  return { app, service, transport: at.transport, [Symbol.asyncDispose]: dispose };
}

forEachProtocol("unary", (open) => {
  test("fetch() brings status, headers and body, as if the app were called itself", async () => {
    await using at = await withApp(open, ({ url }, response) => {
      response.setHeader("x-latin", "caf\u00e9");
      response.writeHead(404, { "content-type": "text/plain; charset=utf-8", "x-seen": url, etag: '"v1"' });
      response.end("no such ïtem");
    });
    const response = await at.service.fetch("/items/7?color=red&size=%C3%BC#top");
    assert.equal(response.status, 404);
    assert.equal(response.ok, false);
    assert.equal(response.headers.get("x-seen"), "/api/items/7?color=red&size=%C3%BC");
    assert.equal(response.headers.get("etag"), '"v1"');
    assert.equal(response.headers.get("x-latin"), "caf\u00e9");
    assert.equal(response.headers.get("content-type"), "text/plain; charset=utf-8");
    assert.equal(await response.text(), "no such ïtem");
    const names = [...response.headers.keys()];
    assert.equal(
      names.some((name) => /^(fairlead|grpc|connect)-|^transfer-encoding$/.test(name)),
      false,
    );
  });

  test("fetch() sends method, headers and body, also headers that the call needs itself", async () => {
    await using at = await withApp(open);
    const body = Uint8Array.from({ length: 300 }, (_, i) => i & 127);
    const headers = {
      "x-mark": "m",
      authorization: "Bearer t0ken",
      cookie: "a=1; b=2",
      origin: "https://shop.example",
      "content-type": "application/x-mine",
      "content-language": "de",
      "user-agent": "mine/1.0",
      accept: "a/b",
    };
    await at.service.fetch("items", { method: "patch", headers, body });
    const asked = last(at.app);
    assert.deepEqual([asked.method, asked.url], ["PATCH", "/api/items"]);
    assert.equal(asked.body, Buffer.from(body).toString());
    for (const [name, value] of Object.entries(headers)) assert.equal(asked.headers[name], value, name);
  });

  test("fetch() knows what has no body: 204, 304 and HEAD", async () => {
    await using at = await withApp(open, ({ url, method }, response) => {
      const status = Number(url.split("/").at(-1));
      response.writeHead(status, { etag: '"v1"', "content-length": method === "HEAD" ? 5 : 0 }).end();
    });
    for (const status of [204, 304]) {
      const response = await at.service.fetch(`/${status}`);
      assert.equal(response.status, status);
      assert.equal(response.body, null);
      assert.equal(response.headers.get("etag"), '"v1"');
    }
    const head = await at.service.fetch("/200", { method: "HEAD" });
    assert.deepEqual([head.status, head.body, head.headers.get("content-length")], [200, null, "5"]);
    const empty = await at.service.fetch("/200");
    assert.equal(await empty.text(), "");
  });

  test("fetch() keeps cookies apart, dates and all", async () => {
    const cookies = [
      "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/",
      "b=2",
      "c=x=y; HttpOnly",
      "d=1, e=2,f=3",
      "g=%2C%25",
    ];
    await using at = await withApp(open, (_asked, response) => {
      response.setHeader("set-cookie", cookies).setHeader("vary", ["a", "b"]).end();
    });
    const { headers } = await at.service.fetch("/");
    assert.deepEqual(headers.getSetCookie(), cookies);
    assert.equal(headers.get("vary"), "a, b");
  });

  test("call() sends and reads JSON", async () => {
    await using at = await withApp(open);
    const got = await at.service.call<Partial<Asked>>("/items", { name: "pear", tags: ["ü"] });
    assert.deepEqual(got, { method: "POST", url: "/api/items", body: '{"name":"pear","tags":["ü"]}' });
    const { "content-type": type, accept } = last(at.app).headers;
    assert.deepEqual([type, accept], ["application/json", "application/json"]);
    assert.equal((await at.service.call<Asked>("/items?x=1")).method, "GET");
  });
});

test("fetch() takes every kind of body that fetch takes, with its media type", async () => {
  await using at = await withApp(openInProcess);
  const send = async (body: BodyInit) => {
    await at.service.fetch("/", { method: "POST", body });
    const { body: got, headers } = last(at.app);
    return [got, headers["content-type"]];
  };
  assert.deepEqual(await send("text ü"), ["text ü", "text/plain;charset=UTF-8"]);
  assert.deepEqual(await send(new URLSearchParams({ a: "1 2" })), [
    "a=1+2",
    "application/x-www-form-urlencoded;charset=UTF-8",
  ]);
  assert.deepEqual(await send(new Blob(["{}"], { type: "application/json" })), ["{}", "application/json"]);
  assert.deepEqual(await send(new Uint8Array([65])), ["A", undefined]);
  assert.deepEqual(await send(""), ["", "text/plain;charset=UTF-8"]);
  const form = new FormData();
  form.set("file", new Blob(["content"]), "name.txt");
  const [got, type] = await send(form);
  assert.match(String(type), /^multipart\/form-data; boundary=/);
  assert.match(String(got), /name\.txt[\s\S]*content/);
});

test("fetch() is refused before it is sent where it makes no sense", async () => {
  await using at = await withApp(openInProcess);
  await assert.rejects(at.service.fetch("/", { body: "x" }), TypeError);
  await assert.rejects(at.service.fetch("/", { method: "HEAD", body: "x" }), TypeError);
  for (const method of ["CONNECT", "NONE", "QUERY", "__proto__"]) {
    await assert.rejects(at.service.fetch("/", { method }), /method must be one of GET, HEAD, POST/);
  }
  assert.equal(at.app.asked.length, 0);
});

test("fetch() of a redirect shows it and does not follow", async () => {
  await using at = await withApp(openInProcess, (_asked, response) => {
    response.writeHead(302, { location: "http://127.0.0.1:1/elsewhere" }).end("see there");
  });
  const response = await at.service.fetch("/");
  assert.deepEqual(
    [response.status, response.headers.get("location")],
    [302, "http://127.0.0.1:1/elsewhere"],
  );
  assert.equal(await response.text(), "see there");
  assert.equal(at.app.asked.length, 1);
});

test("fetch() rejects with ConnectError where there is no answer", async () => {
  const app = await httpApp();
  await app[Symbol.asyncDispose]();
  await using at = await openInProcess({ config: { services: { gone: { url: app.url } } } });
  await assert.rejects(createService(at.transport, "gone").fetch("/"), { code: Code.Unavailable });
  await assert.rejects(createService(at.transport, "nope").fetch("/"), { code: Code.InvalidArgument });
});

test("fetch() past its deadline, or given up, ends the request at the app", async () => {
  const gone: Promise<void>[] = [];
  let giveUp = new AbortController();
  await using at = await withApp(openInProcess, (_asked, response) => {
    gone.push(new Promise((resolve) => response.on("close", resolve)));
    giveUp.abort();
  });
  await assert.rejects(at.service.fetch("/", { timeoutMs: 100 }), { code: Code.DeadlineExceeded });
  giveUp = new AbortController();
  await assert.rejects(at.service.fetch("/", { signal: giveUp.signal }), { code: Code.Canceled });
  assert.equal(gone.length, 2);
  await Promise.all(gone);
});

test("fetch() tries GET and HEAD again where the server was unavailable, and nothing else", async () => {
  let calls: Verb[] = [];
  const flaky = createRouterTransport((router) => {
    router.rpc(Runtime.method.invokeService, ({ message }) => {
      calls.push(message?.httpExtension?.verb ?? 0);
      if (calls.length === 1) throw new ConnectError("away", Code.Unavailable);
      return {};
    });
  });
  const service = createService(withRetry(flaky, { minDelayMs: 1 }), "inventory");
  for (const method of ["GET", "HEAD"] as const) {
    calls = [];
    assert.equal((await service.fetch("/", { method })).status, 200);
    assert.deepEqual(calls, [Verb[method], Verb[method]]);
  }
  for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] as const) {
    calls = [];
    await assert.rejects(service.fetch("/", { method }), { code: Code.Unavailable });
    assert.deepEqual(calls, [Verb[method]]);
  }
});

test("call() rejects for any status but 2xx, with the status and the answer", async () => {
  await using at = await withApp(openInProcess, ({ url }, response) => {
    response.writeHead(Number(url.split("/").at(-1)), { "content-type": "application/problem+json" });
    response.end('{"title":"out of stock"}');
  });
  const failed = async (status: number) => {
    const error: unknown = await at.service.call(`/${status}`, {}).catch((error: unknown) => error);
    assert.ok(error instanceof ConnectError);
    assert.equal(httpStatus(error), status);
    assert.equal(error.rawMessage, `POST "/${status}" of service "inventory" answered ${status}`);
    return error;
  };
  assert.equal((await failed(404)).code, Code.NotFound);
  assert.equal((await failed(409)).code, Code.Aborted);
  assert.equal((await failed(500)).code, Code.Internal);
  assert.equal((await failed(302)).code, Code.FailedPrecondition);
  const { cause } = await failed(422);
  assert.ok(cause instanceof Response);
  assert.deepEqual(await cause.json(), { title: "out of stock" });
});

test("call() codes with what it is given, and checks by a schema", async () => {
  await using at = await withApp(openInProcess, ({ body, url }, response) => {
    if (url.endsWith("/none")) response.writeHead(204).end();
    else response.end(body || '{"price":"free"}');
  });
  assert.equal(await at.service.call("/", "hi", { dataCodec: text(), codec: text() }), "hi");
  assert.equal(last(at.app).headers["content-type"], "text/plain; charset=utf-8");
  assert.deepEqual(
    await at.service.call("/", new Uint8Array([65]), { dataCodec: bytes(), codec: bytes() }),
    new Uint8Array([65]),
  );
  const schema = z.object({ price: z.number() });
  assert.equal((await at.service.call("/", { price: 1 }, { schema })).price, 1);
  await assert.rejects(at.service.call("/", undefined, { schema }), (error: ConnectError) => {
    assert.deepEqual([error.code, error.cause instanceof SchemaError], [Code.DataLoss, true]);
    const { service, method } = unreadableFacts(error) ?? {};
    assert.deepEqual([service, method], ["inventory", "/"]);
    return true;
  });
  assert.equal(await at.service.call("/none"), undefined);
  assert.equal(await at.service.call("/none", undefined, { codec: text() }), "");
  await at.service.call("/none", undefined, {
    verb: "DELETE",
    headers: { authorization: "me", accept: "*/*" },
  });
  const { method, headers } = last(at.app);
  assert.deepEqual([method, headers.authorization, headers.accept], ["DELETE", "me", "*/*"]);
});

test("64 calls at once each get their own answer", async () => {
  await using at = await withApp(openInProcess);
  const calls = Array.from({ length: 64 }, (_, i) => at.service.call<Asked>("/", { i }));
  const bodies = (await Promise.all(calls)).map(({ body }) => body);
  assert.deepEqual(
    bodies,
    Array.from({ length: 64 }, (_, i) => `{"i":${i}}`),
  );
});

/** The Go runtime, as far as invocation goes: the app's headers come bare, and any status but 200 is unavailable. */
function go(answer: (request: InvokeServiceRequest, headers: Headers) => Headers) {
  return createRouterTransport((router) => {
    router.rpc(Runtime.method.invokeService, (request, { requestHeader, responseHeader }) => {
      for (const [name, value] of answer(request, requestHeader)) responseHeader.append(name, value);
      return { data: { value: new TextEncoder().encode('"hi"') }, contentType: "application/json" };
    });
  });
}

test("fetch() of a Go runtime reads bare headers, and leaves out those of the call itself", async () => {
  const transport = go(() => new Headers({ "x-app": "1", etag: '"v1"', "grpc-accept-encoding": "gzip" }));
  const response = await createService(transport, "inventory").fetch("/items");
  assert.equal(response.status, 200);
  assert.deepEqual(Object.fromEntries(response.headers), {
    "content-type": "application/json",
    etag: '"v1"',
    "x-app": "1",
  });
  assert.equal(await createService(transport, "inventory").call("/items"), "hi");
});

test("fetch() of a Go runtime names the method, which it would take to be GET, and sends headers bare", async () => {
  const seen: unknown[] = [];
  const transport = go(({ message }, headers) => {
    seen.push(message?.httpExtension?.verb, message?.httpExtension?.querystring, headers.get("x-mark"));
    return new Headers();
  });
  await createService(transport, "inventory").call("/items?a=1", {}, { headers: { "x-mark": "m" } });
  assert.deepEqual(seen, [Verb.POST, "a=1", "m"]);
});

test("fetch() of a Go runtime rejects as unavailable where the app did not answer 200", async () => {
  const transport = go(() => {
    throw new ConnectError("http response code 404, body: none", Code.Unavailable);
  });
  await assert.rejects(createService(transport, "inventory").fetch("/items"), { code: Code.Unavailable });
});
