import assert from "node:assert/strict";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { test } from "vitest";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { MapService } from "../../gen/atomix/pb/map/map_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createServer } from "../../src/server/index.js";
import { listen } from "../../src/server/node.js";
import { failure } from "../decisions/failure.js";

const storeName = "default";

/** A default server, and a client with the default message limit of gRPC clients. */
async function open() {
  const server = createServer();
  const at = await listen(server, { port: 0 });
  const transport = createGrpcTransport({ baseUrl: at.url, readMaxBytes: 4 * 1024 ** 2 });
  const { valueBytes, keyBytes } = server.config.limits;
  return {
    runtime: createClient(Runtime, transport),
    map: createClient(MapService, transport),
    log: createClient(LogService, transport),
    largest: new Uint8Array(valueBytes).fill(120),
    key: "k".repeat(keyBytes),
    valueBytes,
    [Symbol.asyncDispose]: at.close,
  };
}

async function first<T>(stream: AsyncIterable<T>): Promise<T> {
  for await (const message of stream) return message;
  assert.fail("the stream is empty");
}

async function* held<T>(message: T): AsyncGenerator<T> {
  yield message;
  await new Promise((resolve) => setTimeout(resolve, 10_000));
}

test("a value of exactly valueBytes can be read by a client that accepts 4 MiB, wherever it is stored", async () => {
  await using at = await open();
  const { runtime, map, log, key, largest } = at;
  await runtime.saveState({ storeName, states: [{ key, value: largest }] });
  assert.equal((await runtime.getState({ storeName, key })).data.length, largest.length);
  const { items } = await runtime.getBulkState({ storeName, keys: [key] });
  assert.equal(items[0]?.data.length, largest.length);

  const header = { protocol: { name: "default" }, primitive: { name: "m" }, partition: 1 };
  await map.put({ header, key, value: { value: largest } });
  assert.equal((await map.get({ header, key })).value?.value.length, largest.length);

  await log.produce(
    (async function* () {
      yield { value: largest };
    })(),
  );
  const consumed = log.consume({ offset: 1n }, { headers: { "fairlead-follow": "false" } });
  assert.equal((await first(consumed)).value.length, largest.length);

  const name = "n".repeat(255);
  const tags = { t: "y".repeat(1000) };
  const content = "x".repeat(largest.length - 1001);
  const place = { storeName, appId: name };
  await runtime.saveConfiguration({ ...place, items: [{ key, content, tags, group: name, label: name }] });
  const asked = { ...place, group: name, label: name, keys: [key] };
  assert.equal((await runtime.getConfiguration(asked)).items[0]?.content.length, content.length);
  const told = await first(runtime.subscribeConfiguration(held(asked)));
  assert.equal(told.items[0]?.content.length, content.length);

  const topic = "t".repeat(255);
  const value = { pubsubName: storeName, topic, metadata: { consumerGroup: name } };
  const subscription = runtime.subscribeTopicEvents(
    held({ subscribeTopicEventsRequestType: { case: "initialRequest" as const, value } }),
  );
  const events = subscription[Symbol.asyncIterator]();
  await events.next();
  const data = largest.subarray(2000);
  await runtime.publishEvent({
    pubsubName: storeName,
    topic,
    data,
    dataContentType: "a".repeat(255),
    metadata: { m: "y".repeat(1999) },
  });
  const { value: event } = await events.next();
  assert.equal(event?.subscribeTopicEventsResponseType.case, "eventMessage");
  await events.return?.();
});

test("data that is stored with a value counts towards valueBytes", async () => {
  await using at = await open();
  const { runtime, largest, valueBytes } = at;
  const one = { y: "y".repeat(1000) };
  const calls = [
    () => runtime.publishEvent({ pubsubName: storeName, topic: "t", data: largest, metadata: one }),
    () =>
      runtime.saveConfiguration({
        storeName,
        items: [{ key: "k", content: "x".repeat(valueBytes / 2), tags: { t: "x".repeat(valueBytes / 2) } }],
      }),
    () => runtime.invokeBinding({ name: "echo", operation: "create", data: largest, metadata: one }),
  ];
  for (const call of calls) {
    const error = await failure(call());
    assert.equal(error.code, Code.ResourceExhausted);
    assert.match(error.rawMessage, /^limit valueBytes 4177920: .* with /);
  }
});
