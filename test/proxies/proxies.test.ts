import assert from "node:assert/strict";
import { Code, type Interceptor } from "@connectrpc/connect";
import { afterEach, describe, test } from "vitest";
import { createClient } from "../../src/index.js";
import { createNodeTransport, createTunnelTransport, type NodeTransport } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { createGrpcWebTransport, createWebTransport } from "../../src/web.js";
import { failure } from "../decisions/failure.js";
import { findProgram } from "../support/find-program.js";
import { caddy, documented, haproxy, nginx, type RunningProxy, run } from "./proxy.js";

const close: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of close.splice(0).reverse()) await each();
});

type Edit = (text: string) => string;
const asIs: Edit = (text) => text;

/** A server and the proxy in front of it, by the documented configuration, or by what `edit` makes of it. */
async function open(
  program: ReturnType<typeof nginx>,
  edit = asIs,
  interceptors: Interceptor[] = [],
): Promise<RunningProxy> {
  const at = await listen(createServer({ interceptors }), { port: 0 });
  close.push(at.close);
  const proxy = await run(program, edit(await documented(program.language)), at.port);
  close.push(() => proxy[Symbol.asyncDispose]());
  return proxy;
}

function client(transport: NodeTransport | ReturnType<typeof createWebTransport>) {
  const fl = createClient(transport, { retry: false });
  close.push(async () => {
    await fl.close();
    await transport.close();
  });
  return fl;
}

type Client = ReturnType<typeof client>;

async function unary(fl: Client): Promise<void> {
  const key = `k${Math.random()}`;
  await fl.state().set(key, { a: "ü" });
  assert.deepEqual((await fl.state().get(key))?.value, { a: "ü" });
}

/** A stream that delivers each record as it is written, not at its end. Fetch cannot write: `writer` does. */
async function follows(fl: Client, writer = fl): Promise<void> {
  const name = `l${Math.random()}`;
  const leave = new AbortController();
  const records = fl.log(name).read({ signal: leave.signal })[Symbol.asyncIterator]();
  for (const value of ["a", "b", "c"]) {
    const next = records.next();
    await writer.log(name).append(value);
    const { value: record } = await next;
    assert.equal(record?.value, value);
  }
  leave.abort();
  await records.return?.();
}

async function uploads(fl: Client, writer = fl): Promise<void> {
  const bytes = new Uint8Array(8 * 1024 * 1024).fill(7);
  await writer.files().put("f", bytes);
  const got = (await (await fl.files().get("f"))?.bytes()) ?? [];
  assert.equal(got.length, bytes.length);
}

async function subscribes(fl: Client): Promise<void> {
  const topic = `t${Math.random()}`;
  const events = fl.pubsub().subscribe(topic)[Symbol.asyncIterator]();
  const next = events.next();
  let isHere = false;
  void next.then(() => {
    isHere = true;
  });
  while (!isHere) {
    await fl.pubsub().publish(topic, "hi");
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  await events.return?.();
}

/** What every documented configuration has to pass on. */
function passes(program: ReturnType<typeof nginx>): void {
  test("fetch: unary, streams and downloads, by Connect and gRPC-Web", async () => {
    const { url } = await open(program);
    const writer = client(createNodeTransport(url, { httpVersion: "1.1" }));
    for (const create of [createWebTransport, createGrpcWebTransport]) {
      const fl = client(create(url));
      await unary(fl);
      await follows(fl, writer);
      await uploads(fl, writer);
    }
  });

  test("HTTP/1.1: unary, streams and large uploads", async () => {
    const { url } = await open(program);
    const fl = client(createNodeTransport(url, { httpVersion: "1.1" }));
    await unary(fl);
    await follows(fl);
    await uploads(fl);
  });

  test("the tunnel: every kind of call", async () => {
    const { url } = await open(program);
    const fl = client(createTunnelTransport(url) as never);
    await unary(fl);
    await follows(fl);
    await uploads(fl);
    await subscribes(fl);
  });

  test("HTTP/1.1 and gRPC in turn", () => alternates(program));

  test("gRPC over HTTP/2 without TLS: every kind of call, and errors as they were said", async () => {
    const { http2Url } = await open(program);
    const fl = client(createNodeTransport(http2Url, { protocol: "grpc" }));
    await unary(fl);
    await follows(fl);
    await uploads(fl);
    await subscribes(fl);
    const error = await failure(fl.state("none").get("k"));
    assert.equal(error.code, Code.InvalidArgument);
    assert.match(error.rawMessage, /store "none" is not configured/);
  });
}

/** Calls of both kinds in turn: connections that a proxy keeps to the server are reused by the right kind only. */
async function alternates(program: ReturnType<typeof nginx>): Promise<void> {
  const { url, http2Url } = await open(program);
  const http1 = client(createNodeTransport(url, { httpVersion: "1.1" }));
  const grpc = client(createNodeTransport(http2Url, { protocol: "grpc" }));
  for (let round = 0; round < 10; round++) {
    await unary(grpc);
    await unary(http1);
  }
}

/** The proxy cuts what is silent for four seconds: the heartbeat that our clients ask for keeps their streams whole. */
async function keeps(program: ReturnType<typeof nginx>, edit: Edit): Promise<void> {
  let streams = 0;
  const { url, http2Url } = await open(program, edit, [
    (next) => (request) => {
      if (request.method.name === "Consume") streams++;
      return next(request);
    },
  ]);
  const writer = client(createNodeTransport(url, { httpVersion: "1.1" }));
  const readers = [
    writer,
    client(createWebTransport(url)),
    client(createGrpcWebTransport(url)),
    client(createNodeTransport(http2Url, { protocol: "grpc" })),
  ];
  const leave = new AbortController();
  const records = readers.map((fl) => fl.log("idle").read({ signal: leave.signal })[Symbol.asyncIterator]());
  const first = records.map((each) => each.next());
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  await writer.log("idle").append("late");
  for (const each of first) assert.equal((await each).value?.value, "late");
  assert.equal(streams, readers.length);
  leave.abort();
  for (const each of records) await each.return?.();
}

test("streaming answers ask proxies not to buffer, by every protocol and on both HTTP versions", async () => {
  await using at = await listen(createServer(), { port: 0 });
  for (const httpVersion of ["1.1", "2"] as const) {
    for (const protocol of ["connect", "grpc-web"] as const) {
      const seen: (string | null)[] = [];
      const note: Interceptor = (next) => async (request) => {
        const response = await next(request);
        seen.push(response.header.get("x-accel-buffering"));
        return response;
      };
      const fl = client(createNodeTransport(at.url, { httpVersion, protocol, interceptors: [note] }));
      await fl.raw.runtime.getState({ storeName: "default", key: "k" });
      const leave = new AbortController();
      await fl.log("l").append("a");
      const records = fl.raw.log.consume({}, { signal: leave.signal, headers: { "fairlead-log": "l" } });
      await records[Symbol.asyncIterator]().next();
      leave.abort();
      assert.deepEqual(seen, [null, "no", "no"], `${protocol} over HTTP/${httpVersion}`);
    }
  }
});

const nginxPath = findProgram("nginx", "nginx in front of a server");
if (nginxPath) {
  const program = nginx(nginxPath);
  describe("nginx", () => {
    passes(program);

    test("with proxy_pass only: streams flow, the tunnel says why not, 413 is resource_exhausted", async () => {
      const bare =
        "events {}\nhttp {\n  server {\n    listen 8080;\n    location / { proxy_pass http://127.0.0.1:34904; }\n  }\n}\n";
      const { url } = await open(program, () => bare);
      const writer = client(createNodeTransport(url, { httpVersion: "1.1" }));
      for (const fl of [
        client(createWebTransport(url)),
        client(createGrpcWebTransport(url)),
        client(createNodeTransport(url, { httpVersion: "1.1" })),
      ]) {
        await follows(fl, writer);
        const large = await failure(fl.state().set("k", "x".repeat(2 * 1024 * 1024)));
        assert.equal(large.code, Code.ResourceExhausted);
      }
      const refused = await failure(
        client(createTunnelTransport(url) as never)
          .state()
          .get("k"),
      );
      assert.equal(refused.code, Code.Unavailable);
      assert.match(
        refused.rawMessage,
        /HTTP 426 by nginx\/[\d.]+: the tunnel is a WebSocket.*; a proxy in between may not pass WebSockets on/s,
      );
    });

    test("6000 writes over connections of 1000 requests: each once", { timeout: 120_000 }, async () => {
      const { http2Url } = await open(program);
      const fl = client(createNodeTransport(http2Url, { protocol: "grpc" }));
      const ids: number[] = [];
      const work = async () => {
        for (let i = 0; i < 100; i++) ids.push(Number(await fl.sequencer().next("k")));
      };
      await Promise.all(Array.from({ length: 60 }, work));
      assert.equal(new Set(ids).size, 6000);
      assert.equal(Math.max(...ids), 6000);
    });

    test("an idle cut of gRPC is unavailable, and followers go on behind it", {
      timeout: 60_000,
    }, async () => {
      const { http2Url } = await open(program, (text) =>
        text.replace("grpc_read_timeout 1h", "grpc_read_timeout 1s"),
      );
      await cut(client(createNodeTransport(http2Url, { protocol: "grpc" })));
    });

    test("idle streams outlast a read timeout", { timeout: 60_000 }, () =>
      keeps(program, (text) => text.replaceAll("_read_timeout 1h", "_read_timeout 4s")),
    );

    test("an idle cut of Connect is unavailable, and followers go on behind it", {
      timeout: 60_000,
    }, async () => {
      const { url } = await open(program, (text) =>
        text.replace("proxy_read_timeout 1h", "proxy_read_timeout 1s"),
      );
      const writer = client(createNodeTransport(url, { httpVersion: "1.1" }));
      await cut(writer);
      await cut(client(createWebTransport(url)), writer);
      await cut(client(createGrpcWebTransport(url)), writer);
    });
  });
}

/** A stream that the proxy has cut after a second: what it is to the caller, and that a follower of it goes on. */
async function cut(fl: Client, writer = fl): Promise<void> {
  const raw = fl.raw.log.consume({})[Symbol.asyncIterator]();
  assert.equal((await failure(raw.next())).code, Code.Unavailable);
  const leave = new AbortController();
  const name = `l${Math.random()}`;
  const records = fl.log(name).read({ signal: leave.signal })[Symbol.asyncIterator]();
  const next = records.next();
  await new Promise((resolve) => setTimeout(resolve, 2500));
  await writer.log(name).append("later");
  assert.equal((await next).value?.value, "later");
  leave.abort();
  await records.return?.();
}

const caddyPath = findProgram("caddy", "Caddy in front of a server");
if (caddyPath) {
  describe("Caddy", () => {
    passes(caddy(caddyPath));
    test("idle streams outlast a read timeout", { timeout: 60_000 }, () =>
      keeps(caddy(caddyPath), (text) =>
        text.replace(
          "flush_interval -1",
          "flush_interval -1\n\t\t\ttransport http {\n\t\t\t\tversions h2c 2\n\t\t\t\tread_timeout 4s\n\t\t\t}",
        ),
      ),
    );

    test("a cut of gRPC is unavailable, and followers go on behind it", { timeout: 60_000 }, async () => {
      const timeout =
        "flush_interval -1\n\t\t\ttransport http {\n\t\t\t\tversions h2c 2\n\t\t\t\tread_timeout 1s\n\t\t\t}";
      const { http2Url } = await open(caddy(caddyPath), (text) => text.replace("flush_interval -1", timeout));
      await cut(client(createNodeTransport(http2Url, { protocol: "grpc" })));
    });
  });
}

const haproxyPath = findProgram("haproxy", "HAProxy in front of a server");
if (haproxyPath) {
  describe("HAProxy", () => {
    passes(haproxy(haproxyPath));

    test("idle streams outlast a server timeout", { timeout: 60_000 }, () =>
      keeps(haproxy(haproxyPath), (text) => text.replace(/timeout (server|client) 1h/g, "timeout $1 4s")),
    );

    test("an idle cut of gRPC is unavailable, and followers go on behind it", {
      timeout: 60_000,
    }, async () => {
      const { http2Url } = await open(haproxy(haproxyPath), (text) =>
        text.replace("timeout server 1h", "timeout server 1s"),
      );
      await cut(client(createNodeTransport(http2Url, { protocol: "grpc" })));
    });
  });
}
