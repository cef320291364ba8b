import assert from "node:assert/strict";
import { connect as connectHttp2 } from "node:http2";
import { type AddressInfo, connect, createServer as createTcp, type Socket } from "node:net";
import type { Transport } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { sleep } from "../../src/rpc/sleep.js";
import { type ConfigInput, createServer, type Logger } from "../../src/server/index.js";
import { type ListenOptions, listen } from "../../src/server/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { until } from "../support/until.js";

type Limits = NonNullable<ConfigInput["limits"]>;

async function open(limits: Limits, options: ListenOptions = {}) {
  const lines: string[] = [];
  const note = (fields: object, text: string) => void lines.push(`${text} ${JSON.stringify(fields)}`);
  const log: Logger = { debug() {}, info: note, warn: note, error: note };
  const server = createServer({ config: { limits }, log });
  const listening = await listen(server, { port: 0, graceMs: 100, ...options });
  return { ...listening, server, lines, [Symbol.asyncDispose]: listening.close };
}

/** A socket that sends `first`, then what the test writes. `closed` resolves when the server closes it. */
function dial(port: number, first: Uint8Array) {
  const socket = connect(port, "127.0.0.1").on("error", () => {});
  socket.resume().write(first);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return { socket, closed };
}

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

function frame(type: number, flags: number, id: number, body: Uint8Array = new Uint8Array()): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, body]);
}

const SETTINGS = frame(4, 0, 0);
/** ":method: POST", without END_HEADERS: the header block is incomplete. */
const UNENDED_HEADERS = frame(1, 0, 1, new Uint8Array([0x83]));
const CONTINUATION = frame(9, 0, 1, new Uint8Array([0x87]));

/** Forwards bytes in both directions, at a limited rate to the client, until it is told to drop all of them. */
async function proxyTo(port: number, { chunkBytes = 0, everyMs = 0 } = {}) {
  const sockets: Socket[] = [];
  let isSilent = false;
  const passOn = async (from: Socket, to: Socket, isToClient: boolean) => {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      const step = isToClient && chunkBytes > 0 ? chunkBytes : chunk.length;
      for (let at = 0; at < chunk.length; at += step) {
        if (isToClient && everyMs > 0) await sleep(everyMs);
        if (!isSilent) to.write(chunk.subarray(at, at + step));
      }
    }
    if (!isSilent) to.destroy();
  };
  const server = createTcp((near) => {
    const far = connect(port, "127.0.0.1");
    sockets.push(near, far);
    passOn(near, far, false).catch(() => {});
    passOn(far, near, true).catch(() => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    silence() {
      isSilent = true;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe.each([
  { name: "gRPC", dial: (url: string) => createNodeTransport(url, { protocol: "grpc" }) },
  { name: "the tunnel", dial: (url: string) => createTunnelTransport(url) },
])("over $name", ({ dial }) => {
  test("if a proxy goes silent, the events of its subscriber go to another one of the group", async () => {
    await using at = await open({ pingMs: 300, pingTimeoutMs: 300 });
    await using proxy = await proxyTo(at.port);
    await using silent = dial(proxy.url);
    const leave = new AbortController();
    const { signal } = leave;
    const claimed: number[] = [];
    const received: number[] = [];
    /** Resolves when it is subscribed. */
    const take = (transport: Transport, into: number[]) =>
      new Promise<void>((onOpen) => {
        const options = { group: "g", signal, onOpen };
        const events = createClient(transport).pubsub().subscribe<number>("t", options);
        void (async () => {
          for await (const { data } of events) into.push(data);
        })().catch(() => {});
      });
    await take(silent, claimed);
    proxy.silence();
    const { publish } = createClient(at.server.transport()).pubsub();
    for (let i = 0; i < 5; i++) await publish("t", i);
    await take(at.server.transport(), received);
    await until(() => received.length === 5);
    assert.deepEqual(received.sort(), [0, 1, 2, 3, 4]);
    assert.deepEqual(claimed, []);
    leave.abort();
  });
});

const QUICK = { pingMs: 200, pingTimeoutMs: 200, headersTimeoutMs: 400 };

test.each([
  { name: "without end", first: [SETTINGS, UNENDED_HEADERS], more: undefined },
  { name: "without end, although more comes", first: [SETTINGS, UNENDED_HEADERS], more: CONTINUATION },
  { name: "before any SETTINGS", first: [], more: undefined },
])("a header block $name costs its connection, and it is logged", async ({ first, more }) => {
  await using at = await open(QUICK);
  const { socket, closed } = dial(at.port, Buffer.concat([PREFACE, ...first]));
  const sending = more && setInterval(() => socket.write(more), 200);
  await closed;
  clearInterval(sending);
  await until(() => at.lines.some((line) => line.startsWith("a connection was lost")));
});

test("HTTP/1.1: a connection whose headers never end is closed", async () => {
  await using at = await open(QUICK);
  const { closed } = dial(at.port, Buffer.from("GET /healthz HTTP/1.1\r\nhost: localhost\r\n"));
  await closed;
});

test("connections without calls are closed after connectionIdleMs, and those with calls are not", async () => {
  await using at = await open({ connectionIdleMs: 400 });
  const idle = connectHttp2(at.url);
  const goaway = new Promise((resolve) => idle.once("goaway", resolve));
  const busy = connectHttp2(at.url);
  const watch = busy.request({
    ":method": "POST",
    ":path": "/grpc.health.v1.Health/Watch",
    "content-type": "application/grpc",
  });
  watch.resume().end(new Uint8Array(5));
  let isOver = false;
  watch.once("close", () => {
    isOver = true;
  });
  assert.equal(await goaway, 0);
  await until(() => idle.destroyed);
  const { socket, closed } = dial(at.port, Buffer.from("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"));
  await closed;
  socket.destroy();
  assert.equal(isOver, false);
  busy.destroy();
});

test("an unused tunnel is closed after connectionIdleMs, one whose app serves is not", async () => {
  await using at = await open({ connectionIdleMs: 400 });
  await using transport = createTunnelTransport(at.url, { idleMs: 60_000 });
  await createClient(transport).state().get("k");
  await using app = createTunnelTransport(at.url, { appId: "app" });
  await using fl = createClient(app);
  const served = await fl.service.serve(() => new Response("here"));
  await served.ready;
  assert.equal(at.server.tunnels.sessions.size, 2);
  await until(() => at.server.tunnels.sessions.size === 1);
  const response = await createClient(at.server.transport()).service("app").fetch("/m");
  assert.equal(await response.text(), "here");
});

test("at the limit of connections, idle ones are closed for a new one", async () => {
  await using at = await open({ connections: 50 });
  const idle = Array.from({ length: 55 }, () => connectHttp2(at.url).on("error", () => {}));
  // A new connection has one second for its first call.
  await until(async () => {
    await using admin = createNodeTransport(at.url);
    const state = createClient(admin, { retry: false }).state();
    return await state.get("k").then(
      () => true,
      () => false,
    );
  });
  for (const session of idle) session.destroy();
});

test("a client stays connected while the server's event loop is blocked", async () => {
  await using at = await open({ pingMs: 100, pingTimeoutMs: 300 });
  // A slow network: most of the time a PING is in flight.
  await using proxy = await proxyTo(at.port, { chunkBytes: 1024, everyMs: 60 });
  const session = connectHttp2(proxy.url);
  const watch = session.request({
    ":method": "POST",
    ":path": "/grpc.health.v1.Health/Watch",
    "content-type": "application/grpc",
  });
  watch.resume().end(new Uint8Array(5));
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let i = 0; i < 8; i++) {
    await sleep(40);
    Atomics.wait(cell, 0, 0, 500);
  }
  await sleep(200);
  assert.deepEqual(
    at.lines.filter((line) => line.startsWith("a connection was lost")),
    [],
  );
  assert.equal(watch.closed, false);
  session.destroy();
});

test("a slow client stays connected: bytes that it sends or takes count as activity", async () => {
  await using at = await open({ pingMs: 500, pingTimeoutMs: 500 });
  await createClient(at.server.transport()).files().put("big", new Uint8Array(2_000_000));
  await using proxy = await proxyTo(at.port, { chunkBytes: 16 * 1024, everyMs: 25 });
  await using slow = createNodeTransport(proxy.url);
  const file = await createClient(slow).files().get("big");
  assert.equal((await file?.bytes())?.length, 2_000_000);
});
