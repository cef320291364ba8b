import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, test } from "vitest";
import { WebSocket } from "ws";
import { createClient } from "../../../src/index.js";
import { listen, nodePlatform } from "../../../src/server/node.js";
import { createServer, type Server } from "../../../src/server/server.js";
import { dialShared } from "../../../src/transport/share.js";
import { shareTunnels } from "../../../src/transport/shared-tunnel.js";
import { createTransportOver } from "../../../src/transport/tunnel.js";
import { createTunnelTransport } from "../../../src/transport/tunnel-node.js";
import type { MessagePortLike } from "../../../src/tunnel/socket/message-port.js";
import { createFailoverTunnelTransport } from "../../../src/tunnel.js";
import { createWebTransport } from "../../../src/web.js";
import { lasting } from "../../support/map-servers.js";
import { until } from "../../support/until.js";

// Node 20 has no WebSocket; that of `ws` has the same interface.
const own = globalThis.WebSocket;
beforeAll(() => {
  globalThis.WebSocket = WebSocket as unknown as typeof globalThis.WebSocket;
});
afterAll(() => {
  globalThis.WebSocket = own;
});

const NOWHERE = "http://127.0.0.1:1";

/** Two servers with one engine. */
async function openServers() {
  const engine = lasting();
  const opened: string[] = [];
  const open = async () => {
    const server = createServer({ platform: nodePlatform, engine });
    const listening = await listen(server, { port: 0, graceMs: 100 });
    const { accept } = server.tunnels;
    Object.assign(server.tunnels, {
      accept: (...args: Parameters<typeof accept>) => {
        opened.push(listening.url);
        accept(...args);
      },
    });
    return { server, ...listening };
  };
  const [a, b] = await Promise.all([open(), open()]);
  const servers = [a, b] as const;
  return {
    servers,
    urls: servers.map(({ url }) => url),
    /** The server of each tunnel that was opened. */
    opened,
    /** Those that have tunnels. */
    inUse: () => servers.filter(({ server }) => server.tunnels.sessions.size > 0),
    [Symbol.asyncDispose]: async () => void (await Promise.all(servers.map(({ close }) => close()))),
  };
}

/** Whether the server can call the app "shop" now. */
async function reachesShop(server: Server): Promise<boolean> {
  try {
    const answer = await createClient(server.transport(), { retry: false }).service("shop").fetch("/open");
    return (await answer.text()) === "open";
  } catch (error) {
    assert.equal(ConnectError.from(error).code, Code.Unavailable);
    return false;
  }
}

test("an app that is served goes with its tunnel to the next server", async () => {
  await using cluster = await openServers();
  const transport = createTunnelTransport([NOWHERE, ...cluster.urls], { appId: "shop" });
  const fl = createClient(transport);
  const serving = await fl.service.serve(() => new Response("open"));
  await serving.ready;
  const reached = await Promise.all(cluster.servers.map(({ server }) => reachesShop(server)));
  assert.equal(reached.filter(Boolean).length, 1);
  const first = cluster.servers[reached.indexOf(true)];
  const other = cluster.servers[reached.indexOf(false)];
  assert.ok(first && other);
  await first.close();
  await until(() => reachesShop(other.server));
  assert.equal(serving.status.current, "connected");
  await fl.close();
});

test("a tunnel that was idle opens again at the same server", async () => {
  await using cluster = await openServers();
  const fl = createClient(createTunnelTransport(cluster.urls, { idleMs: 1 }));
  for (let i = 0; i < 8; i++) {
    await fl.hello().say("x");
    await until(() => cluster.inUse().length === 0);
  }
  assert.equal(cluster.opened.length, 8);
  assert.equal(new Set(cluster.opened).size, 1);
  await fl.close();
});

for (const [name, open] of [
  ["createFailoverTunnelTransport()", createFailoverTunnelTransport],
  [
    'createWebTransport() with prefer: "tunnel"',
    (urls: string[]) => createWebTransport(urls, { prefer: "tunnel" }),
  ],
] as const) {
  test(`${name} opens a WebSocket to the next server when one is lost`, async () => {
    await using cluster = await openServers();
    const fl = createClient(open([NOWHERE, ...cluster.urls]));
    await fl.state().set("key", 1);
    const [first] = cluster.inUse();
    assert.ok(first);
    await first.close();
    // A write without a condition: it has not met the lost server.
    await fl.state().set("key", 2);
    assert.equal((await fl.state().get("key"))?.value, 2);
    await Promise.all(cluster.servers.map(({ close }) => close()));
    await assert.rejects(fl.raw.runtime.getState({}), (error: ConnectError) => {
      assert.equal(error.code, Code.Unavailable);
      assert.match(
        error.rawMessage,
        /^cannot reach any of 3 servers: http:\/\/127.0.0.1:1: the WebSocket could not/,
      );
      return true;
    });
    await fl.close();
  });
}

test("pages that share a tunnel move to the next server together", async () => {
  await using cluster = await openServers();
  const scope: { onconnect?: (event: { ports: MessagePortLike[] }) => void } = {};
  shareTunnels(scope);
  const ports: MessagePort[] = [];
  const urls = [NOWHERE, ...cluster.urls] as [string, ...string[]];
  const openPage = () =>
    createTransportOver(NOWHERE, async () => {
      const { port1, port2 } = new MessageChannel();
      ports.push(port1, port2);
      scope.onconnect?.({ ports: [port2 as unknown as MessagePortLike] });
      const share = { urls, appId: undefined, idleMs: 60_000, dialTimeoutMs: 1000 };
      return dialShared({ port: port1 as unknown as MessagePortLike }, share);
    });
  const pages = [createClient(openPage()), createClient(openPage())];
  try {
    for (const page of pages) await page.hello().say("x");
    const [first, ...others] = cluster.inUse();
    assert.ok(first);
    assert.deepEqual(others, []);
    await first.close();
    for (const page of pages) assert.equal(await page.hello().say("y"), "Hello, y");
  } finally {
    for (const page of pages) await page.close();
    for (const port of ports) port.close();
  }
});
