import assert from "node:assert/strict";
import { Code } from "@connectrpc/connect";
import { test } from "vitest";
import { createBindings } from "../../src/client/bindings.js";
import { httpStatus } from "../../src/client/errors.js";
import { withRetry } from "../../src/client/retry.js";
import { fromUtf8 } from "../../src/lib/utf8.js";
import { httpApp } from "../support/http-app.js";
import { forEachProtocol, openInProcess } from "../support/protocols.js";

forEachProtocol("unary", (open) => {
  test("invoke() of an echo gives back data and metadata as they were sent", async () => {
    await using at = await open();
    const data = Uint8Array.from({ length: 256 }, (_, i) => i);
    const metadata = { key: "wert ü", "": "empty", ["__proto__"]: "odd" };
    const answer = await createBindings(at.transport).invoke("echo", "anything", data, { metadata });
    assert.deepEqual(answer.data, data);
    assert.deepEqual(Object.entries(answer.metadata).sort(), Object.entries(metadata).sort());
  });

  test("invoke() of an http binding sends the request and brings the answer", async () => {
    await using app = await httpApp(({ url, body }, response) => {
      response.writeHead(201, "Made", { "x-seen": url, "set-cookie": ["a=1", "b=2"] }).end(`got ${body}`);
    });
    await using at = await open({ config: { bindings: { mailer: { type: "http", url: `${app.url}/in` } } } });
    const answer = await createBindings(at.transport).invoke("mailer", "create", "hällo", {
      metadata: { path: "/box?x=1", "X-Mark": "m" },
    });
    assert.equal(fromUtf8(answer.data), "got hällo");
    const { statusCode, status, "X-Seen": seen, "Set-Cookie": cookies } = answer.metadata;
    assert.deepEqual([statusCode, status, seen, cookies], ["201", "201 Made", "/in/box?x=1", "a=1, b=2"]);
    assert.equal(app.asked[0]?.method, "POST");
    assert.equal(app.asked[0]?.headers["x-mark"], "m");
  });
});

test("invoke() is not tried again, whatever happened", async () => {
  await using app = await httpApp((_asked, response) => response.writeHead(503).end());
  await using at = await openInProcess({ config: { bindings: { mailer: { type: "http", url: app.url } } } });
  const bindings = createBindings(withRetry(at.transport, { minDelayMs: 1 }));
  const call = bindings.invoke("mailer", "get");
  await assert.rejects(call, { code: Code.Unavailable, rawMessage: /503 Service Unavailable/ });
  assert.equal(await call.catch(httpStatus), 503);
  assert.equal(app.asked.length, 1);
});

test("invoke() past its deadline ends the request, and so does giving up", async () => {
  const gone: Promise<void>[] = [];
  await using app = await httpApp((_asked, response) => {
    gone.push(new Promise((resolve) => response.on("close", resolve)));
    giveUp.abort();
  });
  await using at = await openInProcess({ config: { bindings: { slow: { type: "http", url: app.url } } } });
  const bindings = createBindings(at.transport);
  let giveUp = new AbortController();
  await assert.rejects(bindings.invoke("slow", "get", "", { timeoutMs: 100 }), {
    code: Code.DeadlineExceeded,
  });
  giveUp = new AbortController();
  await assert.rejects(bindings.invoke("slow", "get", "", { signal: giveUp.signal }), {
    code: Code.Canceled,
  });
  assert.equal(gone.length, 2);
  await Promise.all(gone);
});

test("64 calls at once each get their own answer", async () => {
  await using app = await httpApp(({ body }, response) => response.end(body));
  await using at = await openInProcess({ config: { bindings: { echo: { type: "http", url: app.url } } } });
  const bindings = createBindings(at.transport);
  const calls = Array.from({ length: 64 }, (_, i) => bindings.invoke("echo", "post", String(i)));
  const answers = (await Promise.all(calls)).map(({ data }) => fromUtf8(data));
  assert.deepEqual(
    answers,
    Array.from({ length: 64 }, (_, i) => String(i)),
  );
});
