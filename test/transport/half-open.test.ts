import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer as createTcp, type Socket } from "node:net";
import type { Transport } from "@connectrpc/connect";
import { createRouterTransport, type Interceptor } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { WebSocket } from "ws";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { sleep } from "../../src/rpc/sleep.js";
import { withStreamWatchdog } from "../../src/rpc/stream-watchdog.js";
import { createServer } from "../../src/server/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { createWebTransport } from "../../src/web.js";
import { openCuttableProxy } from "../support/cuttable-proxy.js";

// A network that fails silently: existing connections carry nothing any more, and none is closed. New connections
// work.

/** The time in which every follower and lock must recover, in milliseconds. */
const GOAL_MS = 10_000;

// A global WebSocket, as in browsers and Node 22.
globalThis.WebSocket ??= WebSocket as unknown as typeof globalThis.WebSocket;

const ways: Record<string, { dial(url: string): Transport & AsyncDisposable; isDuplex: boolean }> = {
  "Connect over fetch": { dial: (url) => createWebTransport(url), isDuplex: true },
  "Connect over HTTP/1.1": {
    dial: (url) => createNodeTransport(url, { httpVersion: "1.1" }),
    isDuplex: false,
  },
  "Connect over HTTP/2": { dial: (url) => createNodeTransport(url), isDuplex: true },
  "gRPC over HTTP/2": { dial: (url) => createNodeTransport(url, { protocol: "grpc" }), isDuplex: true },
  "gRPC-Web over HTTP/2": {
    dial: (url) => createNodeTransport(url, { protocol: "grpc-web" }),
    isDuplex: true,
  },
  "the tunnel": { dial: (url) => createTunnelTransport(url), isDuplex: true },
};

describe.concurrent("half-open connections", () => {
  for (const [name, { dial, isDuplex }] of Object.entries(ways)) {
    test(`every follower and an 8 s lock recover within 10 s, over ${name}`, async () => {
      await using at = await listen(createServer({ platform: nodePlatform }), { port: 0 });
      await using way = await openCuttableProxy(at.port);
      await using there = createNodeTransport(at.url);
      const server = createClient(there);
      const transport = dial(way.url);
      const fl = createClient(transport);
      const left = new AbortController();
      const { signal } = left;
      const came = new Map<string, Set<string>>();
      const note = (what: string, value: string) => {
        let values = came.get(what);
        if (!values) came.set(what, (values = new Set()));
        values.add(value);
      };

      /** Opens every follower that the transport supports, until `signal` aborts. */
      const followers = [
        (async () => {
          for await (const { value } of fl.log<string>().read({ signal })) note("log", value);
        })(),
      ];
      const config = await fl.configuration().open({ pollMs: 2000 });
      const follow = async () => {
        for await (const { value = "" } of config.changes({ signal })) note("configuration", value);
      };
      followers.push(follow());
      if (isDuplex) {
        const subscribe = async () => {
          for await (const { data } of fl.pubsub().subscribe<string>("t", { signal })) note("pubsub", data);
        };
        followers.push(subscribe());
        const map = await fl.openGossipMap<string>("m");
        const gossip = async () => {
          for await (const change of map.changes({ signal })) {
            if (change.type === "insert" || change.type === "update") note("gossip map", change.value);
          }
        };
        followers.push(gossip().finally(() => map.close()));
      }
      const held = await fl.lock().acquire("r", { ttlMs: 8000 });
      const settled = Promise.allSettled(followers);
      await using others = await server.openGossipMap<string>("m");

      /** Sends `text` everywhere until all followers have received it; returns the time in milliseconds. */
      const sendToAll = async (text: string): Promise<Map<string, number>> => {
        const tookMs = new Map<string, number>();
        const startMs = performance.now();
        const missing = () =>
          ["log", "configuration", ...(isDuplex ? ["pubsub", "gossip map"] : [])].filter((each) => {
            const isThere = came.get(each)?.has(text) ?? false;
            if (isThere && !tookMs.has(each)) tookMs.set(each, Math.round(performance.now() - startMs));
            return !isThere;
          });
        await server.log<string>().append(text);
        await server.configuration().save({ k: text });
        others.set("k", text);
        while (missing().length > 0 && performance.now() - startMs < 25_000) {
          // An event is delivered only to groups that exist by then.
          if (isDuplex) await server.pubsub().publish("t", text);
          await sleep(100);
        }
        assert.deepEqual(missing(), []);
        return tookMs;
      };

      await sendToAll("before");
      way.stall();
      const tookMs = await sendToAll("after");
      console.log(`${name}: ${[...tookMs].map(([what, ms]) => `${what} ${ms} ms`).join(", ")}`);
      for (const [what, ms] of tookMs) assert.ok(ms <= GOAL_MS, `${what} took ${ms} ms`);
      await sleep(2000);
      assert.equal(held.signal.aborted, false, String(held.signal.reason));
      assert.equal(await held.release(), true);
      left.abort();
      await settled;
      await config.close();
      await transport[Symbol.asyncDispose]();
    }, 60_000);
  }
});

describe.concurrent("heartbeats", () => {
  const beatless: Interceptor = (next) => async (request) => {
    assert.equal(request.header.get("fairlead-heartbeat-ms"), null);
    return next(request);
  };

  test("an idle stream has an empty message each interval, only for a client that asks for it, and the client's loop skips it", async () => {
    await using at = await listen(createServer(), { port: 0 });
    const bytesOf = async (headers: Record<string, string>) => {
      const body = new Uint8Array([0, 0, 0, 0, 0]);
      const stop = new AbortController();
      const response = fetch(`${at.url}/atomix.log.LogService/Consume`, {
        method: "POST",
        headers: { "content-type": "application/connect+proto", ...headers },
        body,
        signal: stop.signal,
      });
      setTimeout(() => stop.abort(), 3500);
      let bytes = 0;
      let kept: string | null = null;
      try {
        const { body, headers } = await response;
        kept = headers.get("fairlead-heartbeat-ms");
        for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) bytes += chunk.length;
      } catch {}
      return { bytes, kept };
    };
    const [asked, silent, often] = await Promise.all([
      bytesOf({ "fairlead-heartbeat-ms": "1000" }),
      bytesOf({}),
      bytesOf({ "fairlead-heartbeat-ms": "1" }),
    ]);
    // Each is an empty envelope; the first is sent at once.
    assert.deepEqual(asked, { bytes: 20, kept: "1000" });
    assert.deepEqual(often, { bytes: 20, kept: "1000" });
    assert.deepEqual(silent, { bytes: 0, kept: null });

    const transport = withStreamWatchdog(createWebTransport(at.url, { interceptors: [] }), 1000);
    const records = createClient(transport).raw.log.consume({})[Symbol.asyncIterator]();
    const first = records.next();
    await sleep(2500);
    await createClient(transport).log<string>().append("a");
    assert.equal((await first).value?.offset, 1n);
  });

  test("the client waits without limit for a server that sends no heartbeats", async () => {
    const router = createRouterTransport(({ rpc }) => {
      rpc(LogService.method.consume, async function* () {
        await sleep(4000);
        yield { offset: 1n };
      });
    });
    const records = createClient(withStreamWatchdog(router, 1000), { retry: false }).raw.log.consume({});
    for await (const { offset } of records) assert.equal(offset, 1n);
  });

  test("the tunnel asks for no heartbeats: it has PINGs", async () => {
    await using at = await listen(createServer({ interceptors: [beatless] }), { port: 0 });
    await using transport = createTunnelTransport(at.url);
    await createClient(transport).log<string>().append("a");
    for await (const { value } of createClient(transport).log<string>().read({ follow: false })) {
      assert.equal(value, "a");
    }
  });
});

test("a follower on a healthy but silent network keeps its stream for 20 s", async () => {
  await using at = await listen(createServer({ platform: nodePlatform }), { port: 0 });
  let opened = 0;
  const accepted = createTcp((socket: Socket) => {
    opened++;
    const there = new (socket.constructor as typeof Socket)();
    there.connect(at.port, "127.0.0.1");
    socket.pipe(there).pipe(socket);
    for (const each of [socket, there]) each.on("error", () => {});
  });
  accepted.listen(0, "127.0.0.1");
  await once(accepted, "listening");
  const url = `http://127.0.0.1:${(accepted.address() as AddressInfo).port}`;
  const transports = [
    createWebTransport(url),
    createNodeTransport(url, { httpVersion: "1.1" }),
    createNodeTransport(url),
    createTunnelTransport(url),
  ];
  const left = new AbortController();
  const reading = transports.map(async (transport) => {
    for await (const _ of createClient(transport).log().read({ signal: left.signal }));
  });
  await sleep(2000);
  const before = opened;
  await sleep(18_000);
  assert.equal(opened, before);
  left.abort();
  await Promise.allSettled(reading);
  for (const transport of transports) await transport[Symbol.asyncDispose]();
  accepted.close();
}, 40_000);
