import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2, createServer as createHttp2 } from "node:http2";
import { type AddressInfo, connect as connectTcp, createServer as createTcp, type Socket } from "node:net";
import {
  Code,
  ConnectError,
  createRouterTransport,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import { compressionGzip, createConnectTransport } from "@connectrpc/connect-node";
import { test } from "vitest";
import { WebSocket } from "ws";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createFiles } from "../../src/client/files.js";
import { generatedClient } from "../../src/client/generated-client.js";
import { createLog } from "../../src/client/log.js";
import { createState } from "../../src/client/state.js";
import { createClient, isConflict } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { Http2Sessions } from "../../src/node-http/http2-sessions.js";
import { createGrpcWebTransport, createWebTransport } from "../../src/web.js";
import { openCuttableProxy } from "../support/cuttable-proxy.js";
import { httpApp } from "../support/http-app.js";
import { forEachProtocol, openInProcess, overHttp } from "../support/protocols.js";

const failure = (call: Promise<unknown>) =>
  call.then(
    () => assert.fail("it did not fail"),
    (error: unknown) => error as ConnectError,
  );

forEachProtocol("unary", (open) => {
  test("an aborted call is canceled, a late one has exceeded its deadline", async () => {
    const wait: Interceptor = (next) => async (request) => {
      await new Promise<void>((resolve) => request.signal.addEventListener("abort", () => resolve()));
      return next(request);
    };
    await using slow = await open({ interceptors: [wait] });
    const state = createState(slow.transport, "default");
    const gaveUp = new AbortController();
    setTimeout(() => gaveUp.abort(), 30);
    assert.equal((await failure(state.get("k", { signal: gaveUp.signal }))).code, Code.Canceled);
    assert.equal((await failure(state.get("k", { timeoutMs: 30 }))).code, Code.DeadlineExceeded);
    assert.equal((await failure(state.get("k", { signal: AbortSignal.abort() }))).code, Code.Canceled);
  });

  test("a timeoutMs of any size is accepted, also fractions and 2^40", async () => {
    await using at = await open();
    const state = createState(at.transport, "default");
    for (const timeoutMs of [10_000.7, 2 ** 31, 2 ** 40, Number.POSITIVE_INFINITY]) {
      assert.equal(await state.get("k", { timeoutMs }), undefined);
    }
    await assert.rejects(state.get("k", { timeoutMs: Number.NaN }), /timeoutMs must be a number/);
  });

  test("the caller's headers are sent, and its onHeader is called in addition to ours", async () => {
    await using at = await open();
    const state = createState(at.transport, "default");
    let responseHeader: Headers | undefined;
    const etag = await state
      .set("k", 1, {
        headers: { "fairlead-fence": "nope/r=1" },
        onHeader: (headers) => {
          responseHeader = headers;
        },
      })
      .catch((error: unknown) => error);
    assert.match(String(etag), /lock store "nope" is not configured/);
    await state.set("k", 1, {
      onHeader: (headers) => {
        responseHeader = headers;
      },
    });
    assert.match(responseHeader?.get("fairlead-server") ?? "", /^\d+\.\d+\.\d+/);
  });
});

test("a server that cannot be reached is unavailable, on every transport", async () => {
  const nobody = "http://127.0.0.1:9";
  const transports = [
    createNodeTransport(nobody),
    createNodeTransport(nobody, { protocol: "grpc" }),
    createNodeTransport(nobody, { protocol: "grpc-web", httpVersion: "1.1" }),
    createWebTransport(nobody),
    createGrpcWebTransport(nobody),
  ];
  for (const transport of transports) {
    assert.equal((await failure(createState(transport, "default").get("k"))).code, Code.Unavailable);
  }
});

test("a connection that is cut during a call is unavailable, not a conflict, which has the same code in Connect", async () => {
  const sockets: Socket[] = [];
  const cut = createTcp((socket) => {
    sockets.push(socket);
    socket.once("data", () => setTimeout(() => socket.resetAndDestroy(), 20));
  });
  await new Promise<void>((resolve) => cut.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(cut.address() as { port: number }).port}`;
  const transports = [
    createNodeTransport(url),
    createNodeTransport(url, { protocol: "grpc" }),
    createNodeTransport(url, { httpVersion: "1.1" }),
    createWebTransport(url),
  ];
  for (const transport of transports) {
    const error = await failure(createState(transport, "default").set("k", 1, { ifMatch: "1" }));
    assert.equal(isConflict(error), false);
    assert.equal(error.code, Code.Unavailable, error.message);
  }
  cut.close();
});

test("calls that fetch does not support use the tunnel, and fail with the reason if there is no WebSocket", async () => {
  await using at = await overHttp((url) => createWebTransport(url))();
  const files = createClient(at.transport).files();
  const own = globalThis.WebSocket;
  try {
    globalThis.WebSocket = undefined as unknown as typeof own;
    const error = await failure(files.put("a", "b"));
    assert.equal(error.code, Code.Unimplemented);
    assert.match(
      error.rawMessage,
      /needs WebSocket, which this runtime does not have: on Node 20, createTunnelTransport\(\) of fairlead\/node/,
    );
    globalThis.WebSocket = WebSocket as unknown as typeof own;
    await files.put("a", "b");
  } finally {
    globalThis.WebSocket = own;
  }
  assert.equal(await (await files.get("a"))?.text(), "b");
});

test("without WebSocket, preferring the tunnel fails with an error about the runtime, for every call", async () => {
  await using at = await overHttp((url) => createWebTransport(url, { prefer: "tunnel" }))();
  const fl = createClient(at.transport, { retry: false });
  const own = globalThis.WebSocket;
  try {
    globalThis.WebSocket = undefined as unknown as typeof own;
    const calls = [
      () => fl.state().get("k"),
      () => fl.state().set("k", 1, { ifAbsent: true }),
      () => fl.log("named").append(["a"]),
      () => fl.files().put("a", "b", { ifAbsent: true }),
    ];
    for (const call of calls) {
      const error = await failure(call());
      assert.equal(error.code, Code.Unimplemented);
      assert.match(error.rawMessage, /^a tunnel needs WebSocket, which this runtime does not have/);
    }
    // The client has not marked the server as unavailable.
    globalThis.WebSocket = WebSocket as unknown as typeof own;
    await fl.state().set("k", 1, { ifAbsent: true });
  } finally {
    globalThis.WebSocket = own;
  }
});

test.each([
  ["Connect", createWebTransport],
  ["gRPC-Web", createGrpcWebTransport],
])("%s over fetch follows no redirect, also if fetch cannot be asked to fail on one", async (_, create) => {
  const redirectModes: string[] = [];
  await using elsewhere = await httpApp();
  await using moved = await httpApp((_asked, response) => {
    response.writeHead(307, { location: `${elsewhere.url}/` });
    response.end();
  });
  // Like workerd's fetch, which throws on redirect: "error".
  const fetch: typeof globalThis.fetch = async (input, init) => {
    redirectModes.push(init?.redirect ?? "follow");
    if (init?.redirect === "error") throw new TypeError("Invalid redirect value");
    return globalThis.fetch(input, init);
  };
  const error = await failure(createState(create(moved.url, { fetch }), "default").get("k"));
  assert.equal(error.code, Code.Unavailable);
  assert.equal(error.rawMessage, `cannot reach ${new URL(moved.url).host}: it redirects`);
  assert.deepEqual([...new Set(redirectModes)], ["manual"]);
  assert.deepEqual(elsewhere.asked, []);
});

test("gRPC over HTTP/1.1 is refused when the transport is created", () => {
  assert.throws(() => createNodeTransport("http://x", { protocol: "grpc", httpVersion: "1.1" }), TypeError);
});

test("errors of the Go runtime are mapped to the codes of the error table", async () => {
  const E = ConnectError;
  const cases: [error: ConnectError, expected: Code][] = [
    [
      new E(
        "error while executing state transaction: possible etag mismatch. error from state store: …",
        Code.Internal,
      ),
      Code.Aborted,
    ],
    [new E("failed deleting state with key k: possible etag mismatch", Code.Unknown), Code.Aborted],
    [new E("get file fail,err: open x: no such file or directory", Code.Internal), Code.NotFound],
    [new E("configure store [x] don't support now", Code.Unknown), Code.InvalidArgument],
    [new E("optimistic lock failure", Code.PermissionDenied), Code.Aborted],
    [new E("state store is not configured", Code.FailedPrecondition), Code.InvalidArgument],
    [new E("you may not", Code.PermissionDenied), Code.PermissionDenied],
    [new E("something broke", Code.Internal), Code.Internal],
  ];
  for (const [error, expected] of cases) {
    const go = createRouterTransport(({ service }) => {
      service(Runtime, {
        getState() {
          throw error;
        },
      });
    });
    assert.equal((await failure(generatedClient(Runtime, go).getState({}))).code, expected, error.rawMessage);
  }
});

test("createClient() retries a read while the server is unreachable, and no write without a condition", async () => {
  await using at = await openInProcess();
  let away = 0;
  const flaky: Transport = {
    stream: (...args) => at.transport.stream(...args),
    unary: async (...args) => {
      if (away-- > 0) throw new ConnectError("away", Code.Unavailable);
      return at.transport.unary(...args);
    },
  };
  const state = createClient(flaky, { retry: { minDelayMs: 1 } }).state<number>();
  await state.set("k", 1);
  away = 2;
  assert.equal((await state.get("k"))?.value, 1);
  away = 1;
  assert.equal((await failure(state.set("k", 2))).code, Code.Unavailable);
  away = 1;
  assert.ok(await state.set("n", 1, { ifAbsent: true }));
  away = 1;
  const never = createClient(flaky, { retry: false }).state();
  assert.equal((await failure(never.get("k"))).code, Code.Unavailable);
  away = 1;
  const all = createClient(flaky, { retry: { minDelayMs: 1, calls: "all" } }).state();
  assert.ok(await all.set("k", 3));
});

test("a connection that sends no HTTP is answered with 400 and closed", async () => {
  await using at = await overHttp((url) => createNodeTransport(url))();
  const { hostname, port } = new URL(at.url);
  const socket = connectTcp(Number(port), hostname);
  socket.write("\u0000\u0001 this is not HTTP \r\n\r\n");
  const answer: string[] = [];
  for await (const chunk of socket) answer.push(String(chunk));
  assert.match(answer.join(""), /^HTTP\/1\.1 400/);
});

test("responses are compressed only if the client asks for it", async () => {
  const seen: (string | null)[] = [];
  for (const compression of [false, true]) {
    const note: Interceptor = (next) => (request) => {
      seen.push(request.header.get("accept-encoding"));
      return next(request);
    };
    const dial = (url: string) => createNodeTransport(url, { compression });
    await using at = await overHttp(dial)({ interceptors: [note] });
    assert.equal(await createState(at.transport, "default").get("k"), undefined);
  }
  assert.deepEqual(seen, [null, "gzip,br"]);
});

test("files are not compressed, even for a client that asks for compression", async () => {
  let unpacked = 0;
  const counted: typeof compressionGzip = {
    ...compressionGzip,
    decompress(bytes, most) {
      unpacked++;
      return compressionGzip.decompress(bytes, most);
    },
  };
  await using at = await overHttp((baseUrl) => {
    const sessionManager = new Http2Sessions(baseUrl);
    const options = { baseUrl, httpVersion: "2" as const, sessionManager, acceptCompression: [counted] };
    const close = async () => sessionManager.close();
    return { ...createConnectTransport(options), [Symbol.asyncDispose]: close };
  })();
  const content = "a".repeat(100_000);
  const files = createFiles(at.transport, "default");
  await files.put("f", content);
  assert.equal(await (await files.get("f"))?.text(), content);
  assert.equal(unpacked, 0);
  const state = createState(at.transport, "default");
  await state.set("k", content);
  assert.equal((await state.get("k"))?.value, content);
  assert.equal(unpacked, 1);
});

test("the HTTP/2 window of each stream is 256 KiB in both directions", async () => {
  await using at = await overHttp((url) => createNodeTransport(url))();
  const session = connectHttp2(at.url);
  const [settings] = await once(session, "remoteSettings");
  session.destroy();
  assert.equal(settings.initialWindowSize, 256 * 1024);

  const server = createHttp2();
  // The client's close() ends the stream.
  server.on("stream", (stream) => stream.on("error", () => {}));
  const came = once(server, "session").then(async ([session]) => (await once(session, "remoteSettings"))[0]);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  await using transport = createNodeTransport(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const call = failure(createState(transport, "default").get("k", { timeoutMs: 5000 }));
  assert.equal((await came).initialWindowSize, 256 * 1024);
  await transport.close();
  await call;
  server.close();
});

test("a stream over a network that fails silently is unavailable after an unanswered PING", async () => {
  await using at = await overHttp((url) => createNodeTransport(url))();
  await using way = await openCuttableProxy(Number(new URL(at.url).port));
  const sessionManager = new Http2Sessions(way.url, { keepalive: { silenceMs: 50, answerMs: 50 } });
  const transport = createConnectTransport({ baseUrl: way.url, httpVersion: "2", sessionManager });
  await createLog<string>(at.transport).append(["a"]);
  const records = generatedClient(LogService, transport).consume({})[Symbol.asyncIterator]();
  assert.equal((await records.next()).value?.offset, 1n);
  way.stall();
  assert.equal((await failure(records.next())).code, Code.Unavailable);
});
