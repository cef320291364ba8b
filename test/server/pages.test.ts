import assert from "node:assert/strict";
import { test } from "vitest";
import { type ConfigInput, createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { type Ask, type Asked, byFetch, overHttp1, overHttp2 } from "../support/ask.js";

const PATHS = ["/healthz", "/readyz", "/metrics", "/fairlead.tunnel.v1"] as const;
const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] as const;
const PAGE = "https://app.example";
const TOKEN = "a token of sixteen characters".replaceAll(" ", "-");

/** One server through all of its entry points. */
async function openEveryEntryPoint(
  config: ConfigInput,
): Promise<{ entryPoints: ReadonlyMap<string, Ask> } & AsyncDisposable> {
  // The same hosts everywhere: by default fetch() accepts any name, a port on loopback only those of loopback.
  const server = createServer({ config: { hosts: ["edge.example"], ...config } });
  const at = await listen(server, { port: 0 });
  const entryPoints = new Map<string, Ask>([
    ["HTTP/1.1", overHttp1(at.port)],
    ["HTTP/2", overHttp2(at.port)],
    ["fetch()", byFetch(server)],
  ]);
  return { entryPoints, [Symbol.asyncDispose]: at.close };
}

/** The headers of one connection or one version of HTTP, and the date. */
const OF_CONNECTION = new Set([
  ":status",
  "connection",
  "date",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
]);

/** A response without the parts that differ by entry point, and without the durations in /metrics. */
async function answerOf(ask: Ask, asked: Asked) {
  const { status, headers, body } = await ask({ ...asked, headers: { host: "localhost", ...asked.headers } });
  const isMetrics = status === 200 && asked.path.startsWith("/metrics");
  const own = Object.entries(headers).filter(
    ([name]) => !OF_CONNECTION.has(name) && !(isMetrics && name === "content-length"),
  );
  return {
    status,
    headers: Object.fromEntries(own.map(([name, value]) => [name, String(value)]).sort()),
    body: isMetrics ? body.replaceAll(/^(?!#).*\n/gm, "") : body,
  };
}

/** Asserts that all entry points give the same response, and returns it. */
async function sameAnswer(entryPoints: ReadonlyMap<string, Ask>, asked: Asked) {
  const [first, ...others] = await Promise.all(
    [...entryPoints].map(async ([name, ask]) => ({ name, answer: await answerOf(ask, asked) })),
  );
  assert.ok(first);
  for (const { name, answer } of others) {
    assert.deepEqual(answer, first.answer, `${asked.method ?? "GET"} ${asked.path} by ${name}`);
  }
  return first.answer;
}

const CORS_CONFIGS: [name: string, cors: NonNullable<ConfigInput["cors"]>][] = [
  ["named origins", { origins: [PAGE] }],
  ["every origin", { origins: ["*"] }],
  ["named origins with credentials", { origins: [PAGE], credentials: true }],
];

for (const [name, cors] of CORS_CONFIGS) {
  test(`${name}: each page has the same status, headers and body by every entry point and method`, async () => {
    await using at = await openEveryEntryPoint({ cors });
    for (const path of [...PATHS, "/nothing"]) {
      for (const method of METHODS) {
        for (const origin of [undefined, PAGE, "https://evil.example"]) {
          const headers: Record<string, string> = origin === undefined ? {} : { origin };
          await sameAnswer(at.entryPoints, { path, method, headers });
        }
      }
    }
  });
}

test("the query of a page's URL changes nothing", async () => {
  await using at = await openEveryEntryPoint({});
  for (const path of PATHS) {
    const asked = await sameAnswer(at.entryPoints, { path: `${path}?verbose` });
    assert.deepEqual(asked, await sameAnswer(at.entryPoints, { path }));
  }
});

test("GET of a page may not be cached, and HEAD has its headers without the body", async () => {
  await using at = await openEveryEntryPoint({});
  for (const path of PATHS) {
    const get = await sameAnswer(at.entryPoints, { path });
    assert.equal(get.status, path === "/fairlead.tunnel.v1" ? 426 : 200, path);
    assert.equal(get.headers["cache-control"], "no-store");
    assert.notEqual(get.body, "");
    assert.deepEqual(await sameAnswer(at.entryPoints, { path, method: "HEAD" }), { ...get, body: "" });
  }
});

test("a page answers other methods with 405 and the methods that it has", async () => {
  await using at = await openEveryEntryPoint({});
  for (const path of PATHS) {
    for (const method of ["POST", "PUT", "DELETE"]) {
      const { status, headers } = await sameAnswer(at.entryPoints, { path, method });
      assert.equal(status, 405, path);
      assert.equal(headers["allow"], "GET, HEAD, OPTIONS");
      assert.equal(headers["cache-control"], "no-store");
    }
    const options = await sameAnswer(at.entryPoints, { path, method: "OPTIONS" });
    assert.deepEqual([options.status, options.headers["allow"]], [204, "GET, HEAD, OPTIONS"]);
  }
});

test("/metrics sends no CORS headers, the other pages do", async () => {
  await using at = await openEveryEntryPoint({ cors: { origins: [PAGE] } });
  for (const path of PATHS) {
    for (const method of METHODS) {
      const { headers } = await sameAnswer(at.entryPoints, { path, method, headers: { origin: PAGE } });
      const expected = path === "/metrics" ? undefined : PAGE;
      assert.equal(headers["access-control-allow-origin"], expected, `${method} ${path}`);
      if (path === "/metrics") assert.equal(headers["vary"], undefined);
    }
  }
});

test("a page is refused for the same hosts and origins by every entry point", async () => {
  await using at = await openEveryEntryPoint({ cors: { origins: [PAGE] } });
  for (const path of [...PATHS, "/nothing"]) {
    const foreign = { path, headers: { origin: "https://evil.example" } };
    assert.equal((await sameAnswer(at.entryPoints, foreign)).status, 403, path);
    for (const method of ["GET", "HEAD", "POST", "OPTIONS"]) {
      const rebound = { path, method, headers: { host: "evil.example", origin: PAGE } };
      const answers = [...at.entryPoints.values()].map((ask) => answerOf(ask, rebound));
      for (const { status } of await Promise.all(answers)) assert.equal(status, 421, `${method} ${path}`);
    }
  }
});

test("with access rules, only /metrics needs a token", async () => {
  const access = {
    tokens: [{ token: TOKEN, subject: "scraper", roles: ["reader"] }],
    roles: { reader: [{ primitive: "state" as const, verbs: ["read"] }] },
  };
  await using at = await openEveryEntryPoint({ access });
  for (const path of ["/healthz", "/readyz"]) {
    assert.equal((await sameAnswer(at.entryPoints, { path })).status, 200, path);
  }
  const refused = await sameAnswer(at.entryPoints, { path: "/metrics" });
  assert.equal(refused.status, 401);
  assert.equal(refused.headers["www-authenticate"], "Bearer");
  const headers = { authorization: `Bearer ${TOKEN}` };
  assert.equal((await sameAnswer(at.entryPoints, { path: "/metrics", headers })).status, 200);
});

test("/readyz gives the reason at every entry point if the server is not ready", async () => {
  const server = createServer();
  await using at = await listen(server, { port: 0 });
  server.drain();
  const entryPoints = new Map([
    ["HTTP/1.1", overHttp1(at.port)],
    ["fetch()", byFetch(server)],
  ]);
  const { status, body } = await sameAnswer(entryPoints, { path: "/readyz" });
  assert.equal(status, 503);
  assert.deepEqual(JSON.parse(body), { status: "not ready", why: "the server is closing" });
});
