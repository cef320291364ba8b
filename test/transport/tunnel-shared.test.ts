import assert from "node:assert/strict";
import { Code, type ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, test } from "vitest";
import { WebSocket } from "ws";
import { createCallbacks } from "../../src/app.js";
import { createFiles, createPubsub, createState, text } from "../../src/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { dialShared } from "../../src/transport/share.js";
import { shareTunnels } from "../../src/transport/shared-tunnel.js";
import { createTransportOver, type TunnelTransportOptions } from "../../src/transport/tunnel.js";
import type { MessagePortLike } from "../../src/tunnel/socket/message-port.js";
import { until } from "../support/until.js";

// Node 20 has no WebSocket; that of `ws` has the same interface.
const own = globalThis.WebSocket;
beforeAll(() => {
  globalThis.WebSocket = WebSocket as unknown as typeof globalThis.WebSocket;
});
afterAll(() => {
  globalThis.WebSocket = own;
});

/** A server, a SharedWorker's global scope, and pages with a port to it each. */
async function open() {
  const heres: string[] = [];
  const note = (_: object, message: string) => void heres.push(message);
  const log = { debug() {}, info: note, warn: note, error: note };
  const server = createServer({ platform: nodePlatform, log });
  const listening = await listen(server, { port: 0 });
  let sockets = 0;
  let isAway = false;
  const { accept } = server.tunnels;
  Object.assign(server.tunnels, {
    accept: (...args: Parameters<typeof accept>) => {
      sockets++;
      accept(...args);
      if (isAway) server.tunnels.close();
    },
  });
  const scope: { onconnect?: (event: { ports: MessagePortLike[] }) => void } = {};
  shareTunnels(scope);
  const ports: MessagePort[] = [];
  const pages: AsyncDisposable[] = [];
  const page = (options: TunnelTransportOptions = {}) => {
    const dial = async () => {
      const { port1, port2 } = new MessageChannel();
      ports.push(port1, port2);
      scope.onconnect?.({ ports: [port2 as unknown as MessagePortLike] });
      const share = {
        urls: [listening.url] as const,
        appId: options.appId,
        idleMs: 1000,
        dialTimeoutMs: 1000,
      };
      return dialShared({ port: port1 as unknown as MessagePortLike }, share);
    };
    const transport = createTransportOver(listening.url, dial, options);
    pages.push(transport);
    return transport;
  };
  return {
    page,
    sockets: () => sockets,
    /** Closes the sockets to the server: at once or, if there is none, whenever one opens. */
    away(away: boolean) {
      isAway = away;
      if (away) server.tunnels.close();
    },
    heres,
    async [Symbol.asyncDispose]() {
      for (const each of pages) await each[Symbol.asyncDispose]();
      for (const port of ports) port.close();
      await listening.close();
    },
  };
}

test("pages that share a worker share one socket, and every kind of call works", async () => {
  await using at = await open();
  const [one, two] = [at.page(), at.page()];
  await createState(one, "default", { codec: text() }).set("k", "v");
  assert.equal((await createState(two, "default", { codec: text() }).get("k"))?.value, "v");
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const large = new Uint8Array(3_000_000).map((_, i) => bytes[i % bytes.length] ?? 0);
  await createFiles(one, "default").put("a", large);
  const back = await (await createFiles(two, "default").get("a"))?.bytes();
  assert.equal(Buffer.compare(back as Uint8Array, large), 0);
  const follow = createPubsub(two, "default").subscribe("t", { group: "g" });
  const first = (async () => {
    for await (const message of follow) return message.data;
    return undefined;
  })();
  await until(async () => {
    await createPubsub(one, "default").publish("t", "hello");
    return (await Promise.race([first, undefined])) === "hello";
  });
  assert.equal(at.sockets(), 1);
});

test("errors, deadlines and aborts pass through", async () => {
  await using at = await open();
  const state = createState(at.page(), "missing");
  await assert.rejects(state.get("k"), { code: Code.InvalidArgument });
  const page = at.page();
  const reading = createPubsub(page, "default").subscribe("t", { group: "g", timeoutMs: 200 });
  await assert.rejects(
    (async () => {
      for await (const _ of reading);
    })(),
    { code: Code.DeadlineExceeded },
  );
});

test("a page that serves is called through the worker, and another takes over when it closes", async () => {
  await using at = await open();
  const seen: string[] = [];
  const serving = (name: string) =>
    createCallbacks<{ orders: unknown }>({ orders: ({ data }) => void seen.push(`${name} ${data}`) });
  const one = at.page({ appId: "tabs" });
  one.serve(serving("one"));
  await until(() => at.heres.includes("an app is here"));
  const orders = createPubsub(at.page(), "default");
  await orders.publish("orders", 1);
  await until(() => seen.length === 1);
  at.page({ appId: "tabs" }).serve(serving("two"));
  await one.close();
  await orders.publish("orders", 2);
  // An event that `one` handled without having acknowledged it is delivered again, too.
  await until(() => seen.includes("two 2"));
  assert.ok(!seen.includes("one 2"));
});

test("pages that serve are ready when the server calls them, and their status follows the socket", async () => {
  await using at = await open();
  const states: string[][] = [];
  const serve = async () => {
    const serving = at.page({ appId: "tabs" }).serve(createCallbacks<{ orders: unknown }>({ orders() {} }));
    assert.equal(serving.status.current, "connecting");
    const seen: string[] = [];
    states.push(seen);
    const changes = serving.status.changes();
    void (async () => {
      for await (const { current } of changes) seen.push(current);
    })();
    await serving.ready;
    assert.equal(serving.status.current, "connected");
    return serving;
  };
  const [one, two] = [await serve(), await serve()];
  at.away(true);
  await until(() => [one, two].every(({ status }) => status.current === "disconnected"));
  assert.equal((one.status.error as ConnectError).code, Code.Unavailable);
  at.away(false);
  await until(() => [one, two].every(({ status }) => status.current === "connected"));
  await one.close();
  assert.equal(two.status.current, "connected");
  await two.close();
  await until(() => states.every((seen) => seen.at(-1) === "closed"));
  assert.deepEqual(states, Array(2).fill(["connected", "disconnected", "connected", "closed"]));
});
