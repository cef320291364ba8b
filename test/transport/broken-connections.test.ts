import assert from "node:assert/strict";
import { createServer as createTcp, type Socket } from "node:net";
import { Code, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { describe, test } from "vitest";
import { createClient, isUnavailable } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { createGrpcWebTransport, createWebTransport } from "../../src/web.js";
import { failure } from "../decisions/failure.js";
import { type CuttableProxy, openCuttableProxy } from "../support/cuttable-proxy.js";

const ways: Record<string, (url: string) => Transport & Partial<AsyncDisposable>> = {
  "Connect over fetch": (url) => createWebTransport(url),
  "Connect with JSON over fetch": (url) => createWebTransport(url, { json: true }),
  "gRPC-Web over fetch": (url) => createGrpcWebTransport(url),
  "Connect over HTTP/1.1": (url) => createNodeTransport(url, { httpVersion: "1.1" }),
  "Connect over HTTP/2": (url) => createNodeTransport(url),
  gRPC: (url) => createNodeTransport(url, { protocol: "grpc" }),
  "the tunnel": (url) => createTunnelTransport(url),
  "Connect's own transport": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  "Connect's own transport of gRPC": (baseUrl) => createGrpcTransport({ baseUrl }),
};

const breaks: Record<string, (way: CuttableProxy) => void> = {
  FIN: (way) => way.cut(),
  RST: (way) => way.reset(),
};

for (const [name, dial] of Object.entries(ways)) {
  describe(name, () => {
    for (const [how, broken] of Object.entries(breaks)) {
      test(`a stream that breaks by ${how} is unavailable to raw clients, and log.read() continues where it was`, async () => {
        await using at = await listen(createServer(), { port: 0 });
        await using there = createNodeTransport(at.url);
        const log = createClient(there).log<number>();
        await log.append([1, 2]);
        await using way = await openCuttableProxy(at.port);
        const transport = dial(way.url);
        const fl = createClient(transport, { retry: false });
        const raw = fl.raw.log.consume({})[Symbol.asyncIterator]();
        await raw.next();
        await raw.next();
        const left = new AbortController();
        const records = fl.log<number>().read({ signal: left.signal })[Symbol.asyncIterator]();
        assert.equal((await records.next()).value?.value, 1);
        assert.equal((await records.next()).value?.value, 2);
        const [third, rest] = [records.next(), failure(raw.next())];
        broken(way);
        assert.ok(isUnavailable(await rest));
        await log.append([3]);
        assert.equal((await third).value?.value, 3);
        left.abort();
        await transport[Symbol.asyncDispose]?.();
      });
    }
  });
}

/** Answers the first request with the beginning of a response, then ends the connection. */
async function cutShort(head: string, how: "end" | "reset"): Promise<{ url: string } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createTcp((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", () => {
      socket.write(head);
      setTimeout(() => (how === "end" ? socket.end() : socket.resetAndDestroy()), 50);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const dispose = async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  const { port } = server.address() as { port: number };
  return { url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: dispose };
}

for (const how of ["end", "reset"] as const) {
  for (const [name, type, json] of [
    ["Connect", "application/proto", false],
    ["JSON", "application/json", true],
  ] as const) {
    test(`a unary response of ${name} that is truncated by ${how} is unavailable, over fetch and HTTP/1.1`, async () => {
      const head = `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: 1000\r\n\r\n{`;
      await using at = await cutShort(head, how);
      for (const transport of [
        createWebTransport(at.url, { json }),
        createNodeTransport(at.url, { json, httpVersion: "1.1" }),
      ]) {
        const fl = createClient(transport, { retry: false });
        assert.equal((await failure(fl.hello().say("x"))).code, Code.Unavailable);
        assert.equal((await failure(fl.raw.runtime.sayHello({}))).code, Code.Unavailable);
      }
    });
  }
}

test("within a response, the caller's abort stays canceled and its deadline deadline_exceeded", async () => {
  const head = "HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\ncontent-length: 1000\r\n\r\n{";
  const server = createTcp((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.write(head));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  for (const transport of [createWebTransport(url), createNodeTransport(url, { httpVersion: "1.1" })]) {
    const hello = createClient(transport, { retry: false }).hello();
    const gaveUp = new AbortController();
    setTimeout(() => gaveUp.abort(), 50);
    assert.equal((await failure(hello.say("x", { signal: gaveUp.signal }))).code, Code.Canceled);
    assert.equal((await failure(hello.say("x", { timeoutMs: 50 }))).code, Code.DeadlineExceeded);
  }
  server.close();
});
