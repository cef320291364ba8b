import assert from "node:assert/strict";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createInvocations } from "../../../src/app.js";
import { createService } from "../../../src/index.js";
import { createTunnelTransport } from "../../../src/transport/tunnel-node.js";
import { type OneOfSeveral, openSeveral, type SeveralServers } from "../../support/several-servers.js";
import { testEngine } from "../../support/test-engine.js";
import { until } from "../../support/until.js";

/** Only in a network of this process messages are lost when a test wants it. */
/** Declares a test of what only the network of the memory engine can do. */
const onMemory = testEngine === undefined ? test : () => {};

/** Servers, and apps that dial into one of them. */
async function open(options?: Parameters<typeof openSeveral>[0]) {
  const several = await openSeveral(options);
  const opened: AsyncDisposable[] = [];
  const dial = async (server: OneOfSeveral | undefined, appId: string) => {
    const tunnel = createTunnelTransport((await server?.listen()) ?? assert.fail(), { appId });
    opened.push(tunnel);
    return tunnel;
  };
  return {
    ...several,
    dial,
    async [Symbol.asyncDispose]() {
      for (const each of opened) await each[Symbol.asyncDispose]();
      await several[Symbol.asyncDispose]();
    },
  };
}

const serviceOn = (server: OneOfSeveral | undefined, id: string) =>
  createService(server?.transport ?? assert.fail(), id);

test("an app is called through every server, with method, query, headers and bodies of any size", async () => {
  await using at = await open();
  const app = await at.dial(at.servers[0], "inventory");
  const handler = async (request: Request) => {
    const { pathname, search } = new URL(request.url);
    const header = request.headers.get("x-color");
    const body = await request.arrayBuffer();
    const headers = { "x-told": `${request.method} ${pathname}${search} ${header}` };
    const response = new Response(body, { status: 201, headers });
    for (const cookie of ["a=1", "b=2, 3"]) response.headers.append("set-cookie", cookie);
    return response;
  };
  await app.serve(createInvocations(handler)).ready;
  const body = new Uint8Array(3_000_000).fill(7);
  for (const server of at.servers) {
    const init = { method: "PUT", headers: { "x-color": "red" }, body };
    const response = await serviceOn(server, "inventory").fetch("/items/7?deep=1", init);
    assert.equal(response.status, 201);
    assert.equal(response.headers.get("x-told"), "PUT /items/7?deep=1 red");
    assert.deepEqual(response.headers.getSetCookie(), ["a=1", "b=2, 3"]);
    assert.deepEqual(new Uint8Array(await response.arrayBuffer()), body);
  }
});

test("an app's error arrives with code, message, details and metadata, through every server", async () => {
  await using at = await open();
  const app = await at.dial(at.servers[1], "shop");
  await app.serve(({ rpc }) => {
    rpc(Runtime.method.invokeService, () => {
      const error = new ConnectError("out of tea ☕", Code.FailedPrecondition, { "x-shelf": "7" });
      error.details.push({ desc: ErrorInfoSchema, value: { reason: "TEA", domain: "shop" } });
      throw error;
    });
  }).ready;
  for (const { transport } of at.servers) {
    const client = createClient(Runtime, transport);
    const error = await client.invokeService({ id: "shop", message: { method: "/" } }).then(
      () => assert.fail(),
      (error: ConnectError) => error,
    );
    assert.deepEqual([error.code, error.rawMessage], [Code.FailedPrecondition, "out of tea ☕"]);
    assert.equal(error.metadata.get("x-shelf"), "7");
    assert.equal(error.findDetails(ErrorInfoSchema)[0]?.reason, "TEA");
  }
});

test("the app of another server sees the caller's deadline and cancellation", async () => {
  await using at = await open();
  const app = await at.dial(at.servers[0], "slow");
  const ends: string[] = [];
  await app.serve(({ rpc }) => {
    rpc(Runtime.method.invokeService, async (_, { signal, timeoutMs }) => {
      const left = timeoutMs();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      ends.push(left === undefined ? "no deadline" : left > 0 && left <= 300 ? "deadline" : String(left));
      return {};
    });
  }).ready;
  const service = serviceOn(at.servers[2], "slow");
  await assert.rejects(service.fetch("/", { timeoutMs: 300 }), { code: Code.DeadlineExceeded });
  await until(() => ends.length === 1);
  const leave = new AbortController();
  const canceled = assert.rejects(service.fetch("/", { signal: leave.signal }), { code: Code.Canceled });
  setTimeout(() => leave.abort(), 50);
  await canceled;
  await until(() => ends.length === 2);
  assert.deepEqual(ends, ["deadline", "no deadline"]);
});

test("apps of one name on several servers are called in turn, through every server", async () => {
  await using at = await open({ count: 4 });
  for (const i of [0, 1, 1]) {
    const app = await at.dial(at.servers[i], "trio");
    await app.serve(createInvocations(() => new Response(String(i)))).ready;
  }
  for (const server of at.servers) {
    const service = serviceOn(server, "trio");
    const callSix = async () => {
      const answers = [];
      for (let i = 0; i < 6; i++) answers.push(await (await service.fetch("/")).text());
      return answers.toSorted().join("");
    };
    // Servers hear of the apps of others a moment after those are ready.
    await until(async () => (await callSix()) === "001111");
  }
});

onMemory("a server that has heard of no app finds it nevertheless", async () => {
  await using at = await open({ count: 2 });
  at.network.losesBroadcasts = true;
  const app = await at.dial(at.servers[0], "quiet");
  await app.serve(createInvocations(() => new Response("here"))).ready;
  assert.equal(await (await serviceOn(at.servers[1], "quiet").fetch("/")).text(), "here");
  const late = await at.add();
  assert.equal(await (await serviceOn(late, "quiet").fetch("/")).text(), "here");
});

test("a server that starts later takes turns as the others do", async () => {
  await using at = await open({ count: 2 });
  for (const [i, server] of at.servers.entries()) {
    const app = await at.dial(server, "pair");
    await app.serve(createInvocations(() => new Response(String(i)))).ready;
  }
  const late = await at.add();
  const service = serviceOn(late, "pair");
  await service.fetch("/");
  const answers = [];
  for (let i = 0; i < 4; i++) answers.push(await (await service.fetch("/")).text());
  assert.equal(answers.toSorted().join(""), "0011");
});

test("an app that has left is unavailable on every server, an unknown app is not configured", async () => {
  await using at = await open();
  const app = await at.dial(at.servers[0], "inventory");
  await app.serve(createInvocations(() => new Response("ok"))).ready;
  await app.close();
  for (const server of at.servers) {
    const outcome = () =>
      serviceOn(server, "inventory")
        .fetch("/")
        .catch((error: ConnectError) => error);
    await until(async () => (await outcome()) instanceof ConnectError);
    const error = (await outcome()) as ConnectError;
    assert.equal(error.code, Code.Unavailable);
    assert.equal(error.rawMessage, 'the app "inventory" is not connected now');
    await assert.rejects(serviceOn(server, "other").fetch("/"), { code: Code.InvalidArgument });
  }
});

test("an app that disconnects during a call fails it with the same error on every server", async () => {
  await using at = await open();
  const errors: ConnectError[] = [];
  for (const server of at.servers) {
    const app = await at.dial(at.servers[0], "brief");
    let called = () => {};
    const isCalled = new Promise<void>((resolve) => {
      called = resolve;
    });
    const serving = app.serve(
      createInvocations(async () => {
        called();
        return new Promise<Response>(() => {});
      }),
    );
    await serving.ready;
    const failed = serviceOn(server, "brief")
      .fetch("/", { method: "POST" })
      .then(
        () => assert.fail(),
        (error: ConnectError) => errors.push(error),
      );
    await isCalled;
    await app.close();
    await failed;
  }
  const [here, ...elsewhere] = errors.map(({ code, rawMessage }) => [code, rawMessage]);
  assert.equal(here?.[0], Code.Unavailable);
  for (const error of elsewhere) assert.deepEqual(error, here);
});

test("if the server of an app closes, calls under way are unavailable, and others go to the next server", async () => {
  await using at = await open();
  const [first, second, third] = at.servers;
  const app = await at.dial(first, "pair");
  let called = false;
  await app.serve(
    createInvocations(async () => {
      called = true;
      return new Promise<Response>(() => {});
    }),
  ).ready;
  const failed = assert.rejects(serviceOn(third, "pair").fetch("/", { method: "POST" }), {
    code: Code.Unavailable,
  });
  await until(() => called);
  const other = await at.dial(second, "pair");
  await other.serve(createInvocations(() => new Response("second"))).ready;
  await first?.close();
  await failed;
  for (let i = 0; i < 4; i++) {
    assert.equal(await (await serviceOn(third, "pair").fetch("/")).text(), "second");
  }
});

/** Connects an app to `server`, and disconnects it. */
async function connectBriefly(
  at: Awaited<ReturnType<typeof open>>,
  server: OneOfSeveral | undefined,
  name: string,
) {
  const app = await at.dial(server, name);
  await app.serve(createInvocations(() => new Response("ok"))).ready;
  await app.close();
}

const isKnown = async ({ engine }: SeveralServers, name: string) =>
  (await engine.keys.get(`app\0${name}`)) !== undefined;

onMemory("the name of an app that is connected to another server is not forgotten to make room", async () => {
  await using at = await open({ config: { limits: { apps: 2 } } });
  at.network.losesBroadcasts = true;
  const app = await at.dial(at.servers[0], "a-lasting");
  await app.serve(createInvocations(() => new Response("ok"))).ready;
  for (let i = 0; i < 4; i++) {
    await connectBriefly(at, at.servers[1], `b-${i}`);
    assert.equal(await isKnown(at, "a-lasting"), true);
    assert.equal(await isKnown(at, `b-${i}`), true);
  }
  assert.equal(await isKnown(at, "b-2"), false);
});
