import assert from "node:assert/strict";
import { connect as connectHttp2 } from "node:http2";
import { type CallOptions, Code, createClient, type Transport } from "@connectrpc/connect";
import {
  compressionBrotli,
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { test } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createLock } from "../../src/client/lock.js";
import { createPubsub } from "../../src/client/pubsub.js";
import { createSequencer } from "../../src/client/sequencer.js";
import { sleep } from "../../src/rpc/sleep.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { failure } from "../decisions/failure.js";
import { forEachProtocol, openInProcess, overHttp } from "../support/protocols.js";

const overGrpc = overHttp((url) => createNodeTransport(url, { protocol: "grpc" }));
const runtimeOf = (transport: Transport) => createClient(Runtime, transport);

/** The limit that the call hits. */
async function limitOf(call: Promise<unknown>): Promise<string | undefined> {
  const error = await failure(call);
  const [info] = error.findDetails(ErrorInfoSchema);
  assert.equal(info?.reason, "LIMIT", error.message);
  assert.match(error.rawMessage, new RegExp(`^limit ${info.metadata["limit"]} ${info.metadata["most"]}: `));
  return info.metadata["limit"];
}

/** A call that stays open until `close`. */
async function holdOpen(transport: Transport): Promise<{ close(): Promise<void> }> {
  const enough = new AbortController();
  const requests = async function* () {
    yield { storeName: "default", appId: "a", keys: ["k"] };
    await new Promise((resolve) => enough.signal.addEventListener("abort", resolve));
  };
  const { signal } = enough;
  const answers = runtimeOf(transport)
    .subscribeConfiguration(requests(), { signal, headers: { "fairlead-initial": "true" } })
    [Symbol.asyncIterator]();
  await answers.next();
  return {
    async close() {
      enough.abort();
      await answers.next().catch(() => {});
      // The server sees the abort a moment later.
      await sleep(20);
    },
  };
}

forEachProtocol("unary", (open) => {
  test("a call whose headers are larger than headerBytes hits that limit", async () => {
    await using at = await open({ config: { limits: { headerBytes: 2000 } } });
    const hello = (length: number) =>
      runtimeOf(at.transport).sayHello(
        { serviceName: "helloworld" },
        { headers: { "x-large": "x".repeat(length) } },
      );
    await hello(500);
    assert.equal(await limitOf(hello(2000)), "headerBytes");
  });

  test("a message that is larger than messageBytes hits that limit", async () => {
    await using at = await open({ config: { limits: { messageBytes: 2000 } } });
    const save = (length: number) =>
      runtimeOf(at.transport).saveState({
        storeName: "default",
        states: [{ key: "k", value: crypto.getRandomValues(new Uint8Array(length)) }],
      });
    await save(1000);
    // Within a process messages have no size: limits.valueBytes applies instead.
    if (at.url) assert.equal(await limitOf(save(3000)), "messageBytes");
  });
});

forEachProtocol("upload", (open) => {
  test("a later message of a stream that is larger than messageBytes hits that limit", async () => {
    await using at = await open({ config: { limits: { messageBytes: 2000 } } });
    const upload = async function* () {
      for (const length of [1000, 3000]) {
        yield { storeName: "default", name: "f", data: crypto.getRandomValues(new Uint8Array(length)) };
      }
    };
    if (at.url) assert.equal(await limitOf(runtimeOf(at.transport).putFile(upload())), "messageBytes");
  });
});

forEachProtocol("duplex", (open) => {
  test("calls beyond streams hit that limit until one has ended", async () => {
    // One connection may have all of them: shares.test.ts tests its share.
    await using at = await open({ config: { limits: { streams: 2, connectionSharePercent: 100 } } });
    const held = [await holdOpen(at.transport), await holdOpen(at.transport)];
    const hello = () => runtimeOf(at.transport).sayHello({ serviceName: "helloworld" });
    assert.equal(await limitOf(hello()), "streams");
    assert.equal(await limitOf(holdOpen(at.transport)), "streams");
    await held[0]?.close();
    await hello();
    await hello();
    await held[1]?.close();
  });
});

for (const create of [createConnectTransport, createGrpcTransport, createGrpcWebTransport]) {
  for (const sendCompression of [compressionGzip, compressionBrotli]) {
    test(`${create.name}: a message that is larger than messageBytes after ${sendCompression.name} decompression hits that limit`, async () => {
      const dial = (baseUrl: string) => create({ baseUrl, httpVersion: "2", sendCompression });
      await using at = await overHttp(dial)({ config: { limits: { messageBytes: 100_000 } } });
      const runtime = runtimeOf(at.transport);
      const zeros = (length: number) => ({ storeName: "default", name: "f", data: new Uint8Array(length) });
      const save = (length: number) =>
        runtime.saveState({ storeName: "default", states: [{ key: "k", value: zeros(length).data }] });
      await save(50_000);
      assert.equal(await limitOf(save(200_000)), "messageBytes");
      const upload = async function* () {
        for (const length of [50_000, 200_000]) yield zeros(length);
      };
      assert.equal(await limitOf(runtime.putFile(upload())), "messageBytes");
    });
  }
}

test("calls of one connection beyond connectionStreams wait, and other connections are not affected", async () => {
  await using at = await overGrpc({ config: { limits: { connectionStreams: 2 } } });
  const held = [await holdOpen(at.transport), await holdOpen(at.transport)];
  const hello = (transport: Transport, call?: CallOptions) =>
    runtimeOf(transport).sayHello({ serviceName: "helloworld" }, call);
  await assert.rejects(hello(at.transport, { timeoutMs: 100 }), { code: Code.DeadlineExceeded });
  await assert.rejects(hello(at.transport, { signal: AbortSignal.timeout(50) }), { code: Code.Canceled });
  const waiting = [hello(at.transport), hello(at.transport)];
  await using other = createNodeTransport(at.url);
  await hello(other);
  await held[0]?.close();
  await Promise.all(waiting);
  await held[1]?.close();
});

test("a connection beyond connections gets an error in its protocol and is closed, until another one has ended", async () => {
  await using at = await overGrpc({ config: { limits: { connections: 2 } } });
  const hello = (transport: Transport) => runtimeOf(transport).sayHello({ serviceName: "helloworld" });
  const second = createNodeTransport(at.url);
  // An idle one would be closed in favor of a new one.
  const held = [await holdOpen(at.transport), await holdOpen(second)];
  for (const options of [{}, { protocol: "grpc" }, { httpVersion: "1.1" }] as const) {
    await using extra = createNodeTransport(at.url, options);
    assert.equal(await limitOf(hello(extra)), "connections");
  }
  const raw = await fetch(`${at.url}/spec.proto.runtime.v1.Runtime/SayHello`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"serviceName":"helloworld"}',
  });
  assert.deepEqual([raw.status, raw.headers.get("connection")], [429, "close"]);
  const session = connectHttp2(at.url);
  const closed = new Promise((resolve) => session.once("close", resolve));
  session.request({ ":method": "POST", ":path": "/x" }).resume();
  await closed;
  await hello(at.transport);
  await held[1]?.close();
  await second[Symbol.asyncDispose]();
  await sleep(50);
  await using third = createNodeTransport(at.url);
  await hello(third);
  await held[0]?.close();
});

test("incomplete messages of all calls together hit arrivingBytes, and release it when their calls end", async () => {
  await using at = await overGrpc({ config: { limits: { arrivingBytes: 200_000 } } });
  const session = connectHttp2(at.url);
  const begin = (type: string) => {
    const path = "/spec.proto.runtime.v1.Runtime/SaveState";
    const call = session.request({ ":method": "POST", ":path": path, "content-type": type });
    const status = new Promise((resolve) => call.once("response", (headers) => resolve(headers[":status"])));
    call.on("error", () => {});
    call.write(new Uint8Array(60_000));
    return { call, status };
  };
  const calls = Array.from({ length: 3 }, () => begin("application/proto"));
  await sleep(100);
  const refused = begin("application/proto");
  assert.equal(await refused.status, 429);
  for (const { call } of calls) call.close();
  await sleep(50);
  const state = { key: "k", value: new Uint8Array(150_000) };
  for (let i = 0; i < 3; i++) {
    await runtimeOf(at.transport).saveState({ storeName: "default", states: [state] });
  }
  session.destroy();
});

test("responses that nobody reads hit leavingBytes, and release it when their calls end", async () => {
  await using at = await overGrpc({ config: { limits: { leavingBytes: 2_000_000 } } });
  const state = { key: "k", value: new Uint8Array(1_000_000) };
  await runtimeOf(at.transport).saveState({ storeName: "default", states: [state] });
  const session = connectHttp2(at.url, { settings: { initialWindowSize: 1000 } });
  const begin = () => {
    const path = "/spec.proto.runtime.v1.Runtime/GetState";
    const call = session.request({ ":method": "POST", ":path": path, "content-type": "application/json" });
    const status = new Promise((resolve) => call.once("response", (headers) => resolve(headers[":status"])));
    call.on("error", () => {});
    call.end('{"storeName":"default","key":"k"}');
    return { call, status };
  };
  const calls = Array.from({ length: 3 }, begin);
  for (const { status } of calls) assert.equal(await status, 200);
  const refused = begin();
  assert.equal(await refused.status, 429);
  assert.equal(
    await limitOf(runtimeOf(at.transport).sayHello({ serviceName: "helloworld" })),
    "leavingBytes",
  );
  for (const { call } of calls) call.close();
  await sleep(50);
  assert.equal(
    (await runtimeOf(at.transport).getState({ storeName: "default", key: "k" })).data.length,
    1_000_000,
  );
  session.destroy();
});

test("resources that are locked for the first time hit locks, until a fence is dropped", async () => {
  let lateMs = 0;
  const engine = memoryEngine({ now: () => Date.now() + lateMs });
  await using at = await openInProcess({ engine, config: { limits: { locks: 2 } } });
  const lock = createLock(at.transport, "default");
  const grab = async (resource: string) => (await lock.tryAcquire(resource, { ttlMs: 1000 }))?.release();
  const all = await Promise.allSettled(["a", "b", "c", "d"].map(grab));
  assert.equal(all.filter(({ status }) => status === "fulfilled").length, 2);
  await grab("a");
  assert.equal(await limitOf(grab("e")), "locks");
  lateMs = 8 * 24 * 3_600_000;
  await engine.keys.get("fence\0default\0a");
  await engine.keys.get("fence\0default\0b");
  await sleep(1);
  await grab("e");
});

test("new keys of sequencers hit sequencerKeys, also if another server has created the others", async () => {
  const engine = memoryEngine();
  const config = { limits: { sequencerKeys: 2 } };
  await using at = await openInProcess({ engine, config });
  await using other = await openInProcess({ engine, config });
  await createSequencer(other.transport, "default").next("a");
  const ids = createSequencer(at.transport, "default");
  await ids.next("b");
  assert.equal(await limitOf(ids.next("c")), "sequencerKeys");
  await ids.next("a");
});

test("consumer groups hit maxGroups, topics maxTopics, and waiting events of all groups maxTopicBytes", async () => {
  const memory = { maxGroups: 2, maxTopics: 2, maxTopicBytes: 3000 };
  await using at = await openInProcess({ config: { engines: { memory } } });
  const pubsub = createPubsub(at.transport, "default");
  const runtime = runtimeOf(at.transport);
  const leave = new AbortController();
  const join = async (topic: string, consumerGroup: string) => {
    const requests = async function* () {
      const value = { pubsubName: "default", topic, metadata: { consumerGroup } };
      yield { subscribeTopicEventsRequestType: { case: "initialRequest" as const, value } };
      await new Promise((resolve) => leave.signal.addEventListener("abort", resolve));
    };
    const answers = runtime.subscribeTopicEvents(requests(), { signal: leave.signal });
    await answers[Symbol.asyncIterator]().next();
  };
  await join("t", "1");
  await join("t", "2");
  assert.equal(await limitOf(join("t", "3")), "maxGroups");
  await join("u", "1");
  assert.equal(await limitOf(join("v", "1")), "maxTopics");
  await pubsub.publish("t", new Uint8Array(1000));
  assert.equal(await limitOf(pubsub.publish("t", new Uint8Array(1000))), "maxTopicBytes");
  await pubsub.publish("nobody", new Uint8Array(1000));
  leave.abort();
});
