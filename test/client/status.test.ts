import assert from "node:assert/strict";
import { Code } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, test, vi } from "vitest";
import { attemptOf } from "../../src/client/status/attempt.js";
import { ConnectionStatus } from "../../src/client/status/connection-status.js";
import { createClient, type Fairlead } from "../../src/index.js";
import { createNodeTransport, createTunnelTransport } from "../../src/node.js";
import { createServer } from "../../src/server/index.js";
import { type Listening, listen } from "../../src/server/node.js";
import { until } from "../support/until.js";

/** What all statuses have in common. */
type AnyStatus = {
  readonly current: string;
  readonly error: unknown;
  changes(): AsyncIterable<{ current: string; sinceMs: number }>;
};

/** Everything that has a status, opened. */
const LASTING: Record<string, (fl: Fairlead) => Promise<{ status: AnyStatus; close: () => unknown }>> = {
  "log.read()": async (fl) => {
    const records = fl.log().read();
    void records.next();
    return { status: records.status, close: () => records.return() };
  },
  "subscribe()": async (fl) => {
    const messages = fl.pubsub().subscribe("orders");
    void messages.next();
    return { status: messages.status, close: () => messages.return() };
  },
  "an open configuration": (fl) => fl.configuration().open({ fallback: {} }),
  "an open gossip map": (fl) => fl.openGossipMap("m"),
  "service.serve()": (fl) => fl.service.serve(() => new Response("x")),
};

const app = { appId: "shop" };
const WAYS = [
  { name: "HTTP/2", dial: (url: string) => createNodeTransport(url), serves: false },
  { name: "the tunnel", dial: (url: string) => createTunnelTransport(url, app), serves: true },
];

describe.each(WAYS)("the status over $name", ({ dial, serves }) => {
  const lasting = Object.entries(LASTING).filter(([name]) => serves || name !== "service.serve()");

  test.each(lasting)("%s: connected, disconnected, connected again, closed", async (name, open) => {
    // A gossip map works offline. It is "syncing" before it is connected again, perhaps too short to be seen.
    const lost = name === "an open gossip map" ? "offline" : "disconnected";
    let server: Listening = await listen(createServer(), { port: 0, graceMs: 0 });
    const { url, port } = server;
    await using fl = createClient(dial(url));
    const beganMs = Date.now();
    const { status, close } = await open(fl);
    const seen: string[] = [];
    const following = (async () => {
      for await (const { current, sinceMs } of status.changes()) {
        assert.ok(sinceMs >= beganMs && sinceMs <= Date.now());
        seen.push(current);
      }
    })();
    await until(() => status.current === "connected");
    assert.equal(status.error, undefined);
    await server.close();
    await until(() => status.current === lost);
    assert.match(String(status.error), /ConnectError/);
    server = await listen(createServer(), { port, graceMs: 0 });
    await until(() => status.current === "connected");
    await close();
    assert.equal(status.current, "closed");
    await following;
    assert.deepEqual(
      seen.filter((each, i) => each !== "syncing" && (i > 0 || each !== "connected")),
      [lost, "connected", "closed"],
    );
    await server.close();
  });
});

test("a status that was closed by the server tells why, and a map's connected follows it", async () => {
  await using server = await listen(createServer(), { port: 0, graceMs: 0 });
  await using fl = createClient(createNodeTransport(server.url));
  const refused = fl.pubsub("unknown").subscribe("t");
  assert.deepEqual([refused.status.current, refused.status.error], ["connecting", undefined]);
  await assert.rejects(refused.next(), { code: Code.InvalidArgument });
  assert.equal(refused.status.current, "closed");
  assert.match(String(refused.status.error), /unknown/);
  const map = await fl.openGossipMap("m");
  assert.equal(map.connected, true);
  await map.close();
  assert.equal(map.connected, false);
  assert.equal(map.status.current, "closed");
});

describe("in a browser", () => {
  let page: EventTarget;
  beforeEach(() => {
    page = new EventTarget();
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
  });
  afterEach(() => vi.unstubAllGlobals());

  test("offline is told at once, and the attempt under way is given up", () => {
    const status = new ConnectionStatus().begin();
    status.connected();
    const { signal } = attemptOf(status);
    page.dispatchEvent(new Event("offline"));
    assert.equal(status.current, "disconnected");
    assert.match(String(status.error), /offline/);
    assert.equal(signal.aborted, true);
    status.close();
  });

  test("online ends a wait, but no connection that works", () => {
    const status = new ConnectionStatus().begin();
    const waiting = attemptOf(status);
    page.dispatchEvent(new Event("online"));
    assert.equal(waiting.signal.aborted, true);
    status.connected();
    const working = attemptOf(status);
    page.dispatchEvent(new Event("online"));
    assert.equal(working.signal.aborted, false);
    working.release();
    status.close();
  });

  test("a stream over a connection that lives is back soon after offline", async () => {
    await using server = await listen(createServer(), { port: 0, graceMs: 0 });
    await using fl = createClient(createNodeTransport(server.url));
    const map = await fl.openGossipMap("m");
    page.dispatchEvent(new Event("offline"));
    assert.equal(map.connected, false);
    await until(() => map.connected);
    await map.close();
  });

  test("what is served over a tunnel that lives is back soon after offline", async () => {
    await using server = await listen(createServer(), { port: 0, graceMs: 0 });
    await using fl = createClient(createTunnelTransport(server.url, app));
    const { status, ready } = await fl.service.serve(() => new Response("x"));
    await ready;
    page.dispatchEvent(new Event("offline"));
    assert.equal(status.current, "disconnected");
    await until(() => status.current === "connected");
  });
});

test("a reader that is behind is told only the latest, and what is closed tells nothing more", async () => {
  const status = new ConnectionStatus().begin();
  const changes = status.changes();
  status.connected();
  status.disconnected(new Error("lost"));
  assert.equal((await changes.next()).value?.current, "disconnected");
  status.close();
  status.connected();
  assert.equal((await changes.next()).value?.current, "closed");
  assert.equal((await changes.next()).done, true);
  assert.deepEqual(await status.changes().next(), { done: true, value: undefined });
});
