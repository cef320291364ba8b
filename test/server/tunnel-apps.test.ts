import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { createCallbacks, createInvocations } from "../../src/app.js";
import { createPubsub, createService, type EventHandlers, type Token } from "../../src/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer, type ServerOptions } from "../../src/server/server.js";
import { createTunnelTransport } from "../../src/transport/tunnel-node.js";
import { jwtOf, openIssuer } from "../support/tokens.js";
import { until } from "../support/until.js";

/** A server on a port, and tunnels to it. */
async function open(options: ServerOptions = {}) {
  const lines: { message: string; err?: unknown }[] = [];
  const note = (fields: object, message: string) => void lines.push({ ...fields, message });
  const log = { debug() {}, info: note, warn: note, error: note };
  const server = createServer({ platform: nodePlatform, log, ...options });
  const listening = await listen(server, { port: 0 });
  const opened: AsyncDisposable[] = [];
  const dial = (appId?: string, token?: Token) => {
    const transport = createTunnelTransport(listening.url, {
      ...(appId !== undefined && { appId }),
      ...(token !== undefined && { token }),
    });
    opened.push(transport);
    return transport;
  };
  /** Waits until `count` apps have joined in total. */
  const arrived = (count: number) =>
    until(() => lines.filter(({ message }) => message === "an app is here").length >= count);
  return {
    server,
    dial,
    lines,
    arrived,
    async [Symbol.asyncDispose]() {
      for (const each of opened) await each[Symbol.asyncDispose]();
      await listening.close();
    },
  };
}

/** Handlers that record the events of the topic `orders`. */
function noting(seen: unknown[]): (router: Parameters<ReturnType<typeof createCallbacks>>[0]) => void {
  const handlers: EventHandlers<{ orders: unknown }> = { orders: ({ data }) => void seen.push(data) };
  return createCallbacks(handlers);
}

test("an app that dialled in receives events: those from before it joined, and all while it is connected", async () => {
  await using at = await open();
  const orders = createPubsub(at.dial(), "default");
  const seen: unknown[] = [];
  const app = at.dial("shop");
  const serving = app.serve(noting(seen));
  await at.arrived(1);
  await orders.publish("orders", { id: 1 });
  await until(() => seen.length === 1);
  await serving.close();
  await orders.publish("orders", { id: 2 });
  assert.deepEqual(seen, [{ id: 1 }]);
  const again = at.dial("shop");
  again.serve(noting(seen));
  await until(() => seen.length === 2);
  assert.deepEqual(seen, [{ id: 1 }, { id: 2 }]);
});

test("events of an app whose connection is lost go to another app with its name", async () => {
  await using at = await open();
  const orders = createPubsub(at.dial(), "default");
  const first: unknown[] = [];
  const second: unknown[] = [];
  const leaving = at.dial("shop");
  leaving.serve(noting(first));
  await at.arrived(1);
  await orders.publish("orders", 1);
  await until(() => first.length === 1);
  at.dial("shop").serve(noting(second));
  await at.arrived(2);
  await leaving.close();
  for (const id of [2, 3, 4]) await orders.publish("orders", id);
  await until(() => second.length === 3);
  assert.deepEqual(second, [2, 3, 4]);
});

test("InvokeService reaches an app that dialled in, with method, query, headers and body both ways", async () => {
  await using at = await open();
  const serving = at.dial("inventory").serve(
    createInvocations(async (request) => {
      const url = new URL(request.url);
      const told = {
        way: `${request.method} ${url.pathname}${url.search}`,
        header: request.headers.get("x-color"),
        authorization: request.headers.get("authorization"),
        body: await request.text(),
      };
      return Response.json(told, { status: 201, headers: { "x-made": "here", "set-cookie": "a=1" } });
    }),
  );
  const service = createService(at.dial(), "inventory");
  await serving.ready;
  const response = await service.fetch("/items/7?deep=1", {
    method: "PUT",
    headers: { "x-color": "red", authorization: "Basic abc", "content-type": "text/plain" },
    body: "hello",
  });
  assert.equal(response.status, 201);
  assert.equal(response.headers.get("x-made"), "here");
  assert.deepEqual(response.headers.getSetCookie(), ["a=1"]);
  assert.deepEqual(await response.json(), {
    way: "PUT /items/7?deep=1",
    header: "red",
    authorization: "Basic abc",
    body: "hello",
  });
});

test("an app that has left is unavailable, an unknown app is not configured", async () => {
  await using at = await open();
  const app = at.dial("inventory");
  app.serve(createInvocations(() => new Response("ok")));
  const caller = at.dial();
  await until(async () => {
    const there = await createService(caller, "inventory")
      .fetch("/a")
      .catch(() => undefined);
    return there?.status === 200;
  });
  await app.close();
  await until(async () => {
    const error = await createService(caller, "inventory")
      .fetch("/a")
      .catch((error: unknown) => error);
    return error instanceof ConnectError && error.code === Code.Unavailable;
  });
  await assert.rejects(createService(caller, "other").fetch("/a"), { code: Code.InvalidArgument });
});

test("two apps with one name take invocations in turn, and if one leaves, the other takes all", async () => {
  await using at = await open();
  const seen = [0, 0];
  const apps = [0, 1].map((i) => {
    const app = at.dial("pair");
    const count = () => {
      seen[i] = (seen[i] ?? 0) + 1;
      return new Response(String(i));
    };
    app.serve(createInvocations(count));
    return app;
  });
  const service = createService(at.dial(), "pair");
  const call = async () => service.fetch("/").catch(() => undefined);
  await until(async () => {
    await call();
    return seen.every((count) => count > 0);
  });
  const before = [...seen];
  for (let i = 0; i < 10; i++) await call();
  assert.deepEqual(seen, [Number(before[0]) + 5, Number(before[1]) + 5]);
  await apps[0]?.close();
  await until(async () => (await call())?.status === 200);
});

test("an error that an app throws is internal to the caller, and a canceled invocation aborts the app's signal", async () => {
  await using at = await open();
  let aborted = false;
  at.dial("slow").serve(
    createInvocations(async ({ url, signal }) => {
      if (url.endsWith("/throw")) throw new Error("no such shelf");
      if (url.endsWith("/here")) return new Response("yes");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      aborted = true;
      return new Response("late");
    }),
  );
  const service = createService(at.dial(), "slow");
  await until(async () => (await service.fetch("/here").catch(() => undefined))?.status === 200);
  await assert.rejects(service.fetch("/throw"), { code: Code.Internal, message: /no such shelf/ });
  await assert.rejects(service.fetch("/wait", { timeoutMs: 100 }), { code: Code.DeadlineExceeded });
  await until(() => aborted);
});

test("with access rules, only callers that a rule allows may join as an app; the socket's close has the reason", async () => {
  const access = {
    tokens: [
      {
        token: "shop-token-0123456789",
        subject: "shop",
        rules: [
          { primitive: "service", store: "shop", verbs: ["OnTopicEvent"] },
          { primitive: "pubsub", verbs: ["*"] },
        ],
      },
      { token: "thief-token-0123456789", subject: "thief", rules: [{ primitive: "pubsub", verbs: ["*"] }] },
    ],
  };
  await using at = await open({ config: { access } as ServerOptions["config"] });
  const stolen: unknown[] = [];
  const seen: unknown[] = [];
  at.dial("shop", "thief-token-0123456789").serve(noting(stolen));
  await until(() => at.lines.some(({ message }) => /not served/.test(message)));
  assert.match(
    String(at.lines.find(({ message }) => /not served/.test(message))?.err),
    /"thief" may not OnTopicEvent service "shop"/,
  );
  at.dial("shop", "shop-token-0123456789").serve(noting(seen));
  await at.arrived(1);
  await createPubsub(at.dial(undefined, "shop-token-0123456789"), "default").publish("orders", 1);
  await until(() => seen.length === 1);
  assert.deepEqual(stolen, []);
});

test("an app whose token expires gets another one, and is still called", async () => {
  await using issuer = await openIssuer();
  const sign = (ms: number) =>
    issuer.sign({ roles: ["shop"], jti: String(ms), exp: (Date.now() + ms) / 1000 });
  const rules = [
    { primitive: "service", store: "shop", verbs: ["OnTopicEvent"] },
    { primitive: "pubsub", verbs: ["*"] },
  ];
  const access = { jwt: { ...jwtOf(issuer), clockToleranceMs: 0 }, roles: { shop: rules } };
  await using at = await open({ config: { access } as ServerOptions["config"] });
  let held = await sign(2000);
  const refusals: string[] = [];
  const seen: unknown[] = [];
  const token = async (refused?: string) => {
    if (refused !== undefined) refusals.push(refused);
    if (refused === held) held = await sign(60_000);
    return held;
  };
  const first = held;
  const serving = at.dial("shop", token).serve(noting(seen));
  await serving.ready;
  const orders = createPubsub(at.dial(undefined, await sign(50_000)), "default");
  await orders.publish("orders", "before");
  await until(() => seen.length === 1);
  await at.arrived(2);
  await orders.publish("orders", "after");
  await until(() => seen.length === 2);
  assert.deepEqual(seen, ["before", "after"]);
  assert.deepEqual(refusals, [first]);
});

test("a transport without an app id cannot serve, and says so", async () => {
  await using at = await open();
  assert.throws(() => at.dial().serve(noting([])), /appId must say which app/);
});
