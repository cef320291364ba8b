import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  createRouterTransport,
  type ServiceImpl,
} from "@connectrpc/connect";
import * as fc from "fast-check";
import { test } from "vitest";
import { BadRequestSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import {
  AppCallback,
  TopicEventResponse_TopicEventResponseStatus as Status,
  type TopicEventRequest,
} from "../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import { Runtime, SubscribeTopicEventsRequestSchema } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { Queue } from "../../src/internal/queue.js";
import { sleep } from "../../src/internal/timer.js";
import { utf8 } from "../../src/internal/utf8.js";
import { silent } from "../../src/server/context.js";
import { type Delivery, type Engine, EngineFault } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { nodePlatform } from "../../src/server/listen.js";
import type { ServerOptions } from "../../src/server/server.js";
import { openHere } from "../doors.js";
import { failure } from "./failure.js";

const pubsubName = "default";
const quick = { pubsub: { default: { retryMinMs: 1, retryMaxMs: 8, maxDeliveries: 3 } } };

async function open(options: ServerOptions = { config: quick }) {
  const at = await openHere(options);
  const runtime = createClient(Runtime, at.transport);
  return Object.assign(at, {
    runtime,
    publish: (
      topic: string,
      data: Uint8Array | string,
      rest: { dataContentType?: string; metadata?: Record<string, string> } = {},
    ) =>
      runtime.publishEvent({
        pubsubName,
        topic,
        data: typeof data === "string" ? utf8(data) : data,
        ...rest,
      }),
  });
}

type Initial = {
  topic?: string;
  pubsubName?: string;
  metadata?: Record<string, string>;
  deadLetterTopic?: string;
};

/** One SubscribeTopicEvents call, message by message. */
async function subscribe(
  runtime: Client<typeof Runtime>,
  initial: Initial = {},
  headers: Record<string, string> = {},
) {
  const requests = new Queue<ReturnType<typeof request>>();
  const give = new AbortController();
  requests.push(request("initialRequest", { pubsubName, topic: "t", ...initial }));
  const incoming = runtime
    .subscribeTopicEvents(requests, { signal: give.signal, headers })
    [Symbol.asyncIterator]();
  const first = await incoming.next();
  assert.equal(first.value?.subscribeTopicEventsResponseType.case, "initialResponse");
  let ahead: ReturnType<typeof incoming.next> | undefined;
  const next = async (): Promise<TopicEventRequest> => {
    const { value, done } = await (ahead ?? incoming.next());
    ahead = undefined;
    assert.ok(!done, "the call ended");
    assert.equal(value.subscribeTopicEventsResponseType.case, "eventMessage");
    return value.subscribeTopicEventsResponseType.value as TopicEventRequest;
  };
  return {
    next,
    /** Whether nothing comes for `ms`. */
    quiet: async (ms = 15) => {
      ahead ??= incoming.next();
      ahead.catch(() => {});
      return (await Promise.race([ahead, sleep(ms).then(() => "quiet")])) === "quiet";
    },
    answer: (id: string, status?: Status) =>
      requests.push(request("eventProcessed", { id, ...(status !== undefined && { status: { status } }) })),
    send: (message: ReturnType<typeof request>) => requests.push(message),
    halfClose: () => requests.end(),
    /** How the call ends: undefined is OK. Events that still come are not answered. */
    end: async (): Promise<ConnectError | undefined> => {
      try {
        for (let step = await (ahead ?? incoming.next()); !step.done; step = await incoming.next());
        return undefined;
      } catch (error) {
        return ConnectError.from(error);
      }
    },
    cancel: () => give.abort(),
  };
}

const request = (kind: "initialRequest" | "eventProcessed", value: object) =>
  create(SubscribeTopicEventsRequestSchema, {
    subscribeTopicEventsRequestType: { case: kind, value } as never,
  });

const textOf = (event: TopicEventRequest): string => Buffer.from(event.data).toString();

/** Makes the group, so that events wait for it. */
async function makeGroup(runtime: Client<typeof Runtime>, initial?: Initial) {
  const member = await subscribe(runtime, initial);
  member.halfClose();
  assert.equal(await member.end(), undefined);
}

test("a required field is empty, an enum number or a number is out of range, a name is malformed: invalid_argument, naming the field", async () => {
  await using at = await open();
  const subscribing = (initial: Initial) => subscribe(at.runtime, initial);
  const cases: [call: Promise<unknown>, field: string][] = [
    [at.runtime.publishEvent({ pubsubName: "", topic: "t" }), "pubsub_name"],
    [at.runtime.publishEvent({ pubsubName, topic: "" }), "topic"],
    [at.runtime.publishEvent({ pubsubName, topic: "a\u0000b" }), "topic"],
    [at.publish("t", "", { metadata: { ttlInSeconds: "soon" } }), 'metadata["ttlInSeconds"]'],
    [subscribing({ topic: "" }), "initial_request.topic"],
    [subscribing({ pubsubName: "" }), "initial_request.pubsub_name"],
    [subscribing({ deadLetterTopic: "\n" }), "initial_request.dead_letter_topic"],
    [subscribing({ deadLetterTopic: "t" }), "initial_request.dead_letter_topic"],
    [subscribing({ metadata: { maxInFlight: "0" } }), 'initial_request.metadata["maxInFlight"]'],
    [subscribing({ metadata: { consumerGroup: "\n" } }), 'initial_request.metadata["consumerGroup"]'],
    [subscribe(at.runtime, {}, { "fairlead-app-id": "x".repeat(256) }), "fairlead-app-id"],
  ];
  for (const [call, field] of cases) {
    const error = await failure(call);
    assert.equal(error.code, Code.InvalidArgument, field);
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, field);
  }
});

test("unknown store, pubsub, binding, hello or app: invalid_argument, naming those that are configured", async () => {
  await using at = await open();
  for (const call of [
    at.runtime.publishEvent({ pubsubName: "nope", topic: "t" }),
    subscribe(at.runtime, { pubsubName: "nope" }),
  ]) {
    const error = await failure(call);
    assert.equal(error.code, Code.InvalidArgument);
    assert.equal(error.rawMessage, 'pubsub "nope" is not configured; configured: "default"');
  }
});

test("a limit is hit (message, key or value size, open streams, rate): resource_exhausted, naming the limit", async () => {
  const engine = memoryEngine({ maxBacklogBytes: 1000 });
  await using at = await open({ engine, config: { limits: { valueBytes: 400 } } });
  await makeGroup(at.runtime);
  const large = await failure(at.publish("t", "x".repeat(401)));
  assert.deepEqual([large.code, /valueBytes 400/.test(large.rawMessage)], [Code.ResourceExhausted, true]);
  await at.publish("t", "x".repeat(400));
  const full = await failure(at.publish("t", "x".repeat(400)));
  assert.deepEqual([full.code, /maxBacklogBytes 1000/.test(full.rawMessage)], [Code.ResourceExhausted, true]);
});

test("the engine is away: unavailable, retryable; a subscription ends so too when the server closes", async () => {
  const at = await open();
  const stream = await subscribe(at.runtime);
  const ended = stream.end();
  await at.server.close();
  assert.equal((await ended)?.code, Code.Unavailable);
  const error = await failure(at.publish("t", ""));
  assert.equal(error.code, Code.Unavailable);
  assert.equal(error.findDetails(RetryInfoSchema).length, 1);
});

test("PublishEvent: a CloudEvent as the Go server shapes it", async () => {
  await using at = await open();
  const stream = await subscribe(at.runtime);
  await at.publish("t", "hello", { metadata: { tenant: "a" } });
  await at.publish("t", "hello");
  const [event, other] = [await stream.next(), await stream.next()];
  assert.match(event.id, /^\w{8,}/);
  assert.notEqual(event.id, other.id);
  const { source, type, specVersion, dataContentType, topic } = event;
  assert.deepEqual([source, type, specVersion], ["runtime", "com.runtime.event.sent", "1.0"]);
  assert.deepEqual([dataContentType, topic, event.pubsubName], ["text/plain", "t", pubsubName]);
  assert.equal(event.metadata["tenant"], "a");
});

test("PublishEvent: bytes arrive as they were sent, whatever the content type", async () => {
  await using at = await open();
  const stream = await subscribe(at.runtime);
  const fixed: [Uint8Array, string][] = [
    [utf8("0.1234567890123"), "application/json"],
    [utf8('{ "b": 12345678901234567890, "a": 1e400 }'), "application/json; charset=utf-8"],
    [utf8("{not json"), "application/json"],
    [new Uint8Array(), "application/json"],
    [Uint8Array.of(0xff, 0x00, 0xc3), "text/plain"],
    [Uint8Array.of(1, 2, 3), "image/png"],
    [utf8("<>&"), "application/foo+json"],
  ];
  const check = async (data: Uint8Array, dataContentType: string) => {
    await at.publish("t", data, { dataContentType });
    const event = await stream.next();
    stream.answer(event.id);
    assert.deepEqual([event.data, event.dataContentType], [data, dataContentType]);
  };
  for (const [data, type] of fixed) await check(data, type);
  await fc.assert(
    fc.asyncProperty(fc.uint8Array(), (data) => check(data, "application/x-any")),
    { numRuns: 50 },
  );
});

const cloud = "application/cloudevents+json";

test("PublishEvent: an envelope of the publisher's own keeps its attributes and the text of its data", async () => {
  await using at = await open();
  const stream = await subscribe(at.runtime);
  const data = '{ "b" : 12345678901234567890.10, "a":[1e400,"}\\"]{,:"] }';
  const envelope = `
    { "id":"e1", "source":"/shop", "type":"order.placed", "specversion":"1.0", "subject":"s",
      "time":"2020-01-02T03:04:05Z", "sequence":7, "nothing":null, "datacontenttype":"application/vnd.x+json",
      "topic":"forged", "pubsubname":"forged", "data": 1, "d\\u0061ta" : ${data} }`;
  await at.publish("t", envelope, {
    dataContentType: "Application/CloudEvents+JSON; charset=utf-8",
    metadata: { tenant: "a" },
  });
  const event = await stream.next();
  assert.equal(textOf(event), data);
  const { id, source, type, specVersion, dataContentType, topic, metadata } = event;
  assert.deepEqual([id, source, type, specVersion], ["e1", "/shop", "order.placed", "1.0"]);
  assert.deepEqual([dataContentType, topic, event.pubsubName], ["application/vnd.x+json", "t", pubsubName]);
  assert.deepEqual(metadata, { subject: "s", time: "2020-01-02T03:04:05Z", sequence: "7", tenant: "a" });
});

test("PublishEvent: what an envelope leaves out is filled in, and its data may be text or base64", async () => {
  await using at = await open();
  const stream = await subscribe(at.runtime);
  const cases: [envelope: string, data: string | Uint8Array, type: string][] = [
    ["{}", "", "application/json"],
    ['{"data":null,"id":null}', "null", "application/json"],
    ['{"data":"x\\u00e9","datacontenttype":"text/plain"}', "xé", "text/plain"],
    ['{"data":"x"}', '"x"', "application/json"],
    ['{"data":{"a":1},"datacontenttype":"text/plain"}', '{"a":1}', "text/plain"],
    ['{"data_base64":"AP+A","datacontenttype":"image/png"}', Uint8Array.of(0, 255, 128), "image/png"],
  ];
  for (const [envelope, data, type] of cases) {
    await at.publish("t", envelope, { dataContentType: cloud });
    const event = await stream.next();
    assert.deepEqual(Buffer.from(event.data), Buffer.from(data as string), envelope);
    assert.equal(event.dataContentType, type, envelope);
    assert.ok(event.id.length > 8);
    assert.deepEqual([event.source, event.type], ["runtime", "com.runtime.event.sent"]);
  }
});

test("PublishEvent: what is no CloudEvent as a JSON object is invalid_argument", async () => {
  await using at = await open();
  const wrong = [
    "",
    "null",
    "[]",
    "1",
    '"{}"',
    "{",
    '{"id":1}',
    '{"data_base64":"*"}',
    '{"data_base64":1}',
    '{"data":1,"data_base64":"AA=="}',
    Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d),
  ];
  for (const data of wrong) {
    const error = await failure(at.publish("t", data, { dataContentType: cloud }));
    assert.equal(error.code, Code.InvalidArgument, String(data));
    assert.match(error.rawMessage, /^data/);
  }
});

test("PublishEvent: ttlInSeconds expires an event that waits, without a delivery", async () => {
  await using at = await open();
  await makeGroup(at.runtime);
  await at.publish("t", "expired", { metadata: { expiration: new Date(Date.now() - 1).toISOString() } });
  await at.publish("t", "waits", { metadata: { ttlInSeconds: "60" } });
  await at.publish("t", "stays", { metadata: { ttlInSeconds: "-1" } });
  const stream = await subscribe(at.runtime);
  const [waits, stays] = [await stream.next(), await stream.next()];
  assert.deepEqual([textOf(waits), textOf(stays)], ["waits", "stays"]);
  const leftMs = Date.parse(waits.metadata["expiration"] ?? "") - Date.now();
  assert.ok(leftMs > 50_000 && leftMs <= 60_000, `${leftMs}`);
  assert.equal(stays.metadata["expiration"], undefined);
});

test("PublishEvent: at least once, in publish order per topic until a retry", async () => {
  await using at = await open();
  const stream = await subscribe(at.runtime);
  for (const n of [1, 2, 3]) await at.publish("t", String(n));
  const events = [await stream.next(), await stream.next(), await stream.next()];
  assert.deepEqual(events.map(textOf), ["1", "2", "3"]);
  stream.answer(events[0]?.id ?? "", Status.RETRY);
  assert.equal(textOf(await stream.next()), "1");
});

test("delivery: competing consumers per (topic, consumerGroup), default the app id", async () => {
  await using at = await open({ config: { appId: "own" } });
  const one = { maxInFlight: "1" };
  const a = await subscribe(at.runtime, { metadata: one });
  const b = await subscribe(at.runtime, { metadata: { ...one, consumerGroup: "own" } });
  const other = await subscribe(at.runtime, { metadata: one }, { "fairlead-app-id": "other" });
  const elsewhere = await subscribe(at.runtime, { topic: "u" });
  await at.publish("t", "1");
  await at.publish("t", "2");
  const [x, y] = [await a.next(), await b.next()];
  assert.deepEqual([textOf(x), textOf(y)].sort(), ["1", "2"]);
  assert.equal(textOf(await other.next()), "1");
  assert.ok(await elsewhere.quiet());
});

test("delivery: SUCCESS acks, and so does an answer without a status", async () => {
  await using at = await open();
  const stream = await subscribe(at.runtime);
  for (const status of [Status.SUCCESS, undefined]) {
    await at.publish("t", "x");
    stream.answer((await stream.next()).id, status);
  }
  stream.halfClose();
  assert.equal(await stream.end(), undefined);
  const again = await subscribe(at.runtime);
  assert.ok(await again.quiet());
});

test("delivery: RETRY or a number that is not known redelivers, with growing delay up to a bound", async () => {
  const settings = { retryMinMs: 10, retryMaxMs: 25, maxDeliveries: 16 };
  await using at = await open({ config: { pubsub: { default: settings } } });
  const stream = await subscribe(at.runtime);
  await at.publish("t", "x");
  const times: number[] = [];
  const ids = new Set<string>();
  for (const status of [Status.RETRY, 99 as Status, Status.RETRY, Status.SUCCESS]) {
    const { id } = await stream.next();
    ids.add(id);
    times.push(performance.now());
    stream.answer(id, status);
  }
  assert.equal(ids.size, 1);
  // A timer may be a millisecond early.
  const waits = times.slice(1).map((time, i) => time - (times[i] ?? 0));
  for (const [i, least] of [9, 19, 24].entries()) assert.ok((waits[i] ?? 0) >= least, `${waits}`);
});

test("delivery: DROP acks with a warning", async () => {
  const warned: unknown[] = [];
  const log = { ...silent, warn: (_fields: object, text: string) => void warned.push(text) };
  await using at = await open({ config: quick, log });
  const stream = await subscribe(at.runtime);
  await at.publish("t", "x");
  stream.answer((await stream.next()).id, Status.DROP);
  assert.ok(await stream.quiet());
  assert.deepEqual(warned, ["a consumer dropped an event"]);
});

test("delivery: after maxDeliveries the event goes to dead_letter_topic, with the reason in its metadata", async () => {
  await using at = await open();
  const dead = await subscribe(at.runtime, { topic: "dead" });
  const stream = await subscribe(at.runtime, { deadLetterTopic: "dead", metadata: { consumerGroup: "g" } });
  await at.publish("t", Uint8Array.of(0, 255), { dataContentType: "image/png", metadata: { tenant: "a" } });
  let id = "";
  for (let i = 0; i < 3; i++) {
    id = (await stream.next()).id;
    stream.answer(id, Status.RETRY);
  }
  const letter = await dead.next();
  assert.deepEqual([letter.id, letter.topic, letter.dataContentType], [id, "dead", "image/png"]);
  assert.deepEqual(letter.data, Uint8Array.of(0, 255));
  const { deadLetterReason, deadLetterFrom, deadLetterGroup, deliveries, tenant } = letter.metadata;
  assert.match(deadLetterReason ?? "", /asked for another delivery/);
  assert.deepEqual([deadLetterFrom, deadLetterGroup, deliveries, tenant], ["t", "g", "3", "a"]);
  assert.ok(await stream.quiet());
});

test("delivery: a dead letter waits for its first subscriber, of the group that has no name", async () => {
  await using at = await open();
  const stream = await subscribe(at.runtime, { deadLetterTopic: "dead", metadata: { consumerGroup: "g" } });
  await at.publish("t", "x");
  for (let i = 0; i < 3; i++) stream.answer((await stream.next()).id, Status.RETRY);
  assert.ok(await stream.quiet());
  const late = await subscribe(at.runtime, { topic: "dead" });
  assert.equal((await late.next()).metadata["deadLetterFrom"], "t");
});

test("delivery: after maxDeliveries without a dead_letter_topic the event is dropped with a warning", async () => {
  const warned: string[] = [];
  const log = { ...silent, warn: (_fields: object, text: string) => void warned.push(text) };
  await using at = await open({ config: quick, log });
  const stream = await subscribe(at.runtime, { deadLetterTopic: "" });
  await at.publish("t", "x");
  for (let i = 0; i < 3; i++) stream.answer((await stream.next()).id, Status.RETRY);
  assert.ok(await stream.quiet());
  assert.match(warned.join(), /^an event is dropped after its last delivery/);
});

test("delivery: a dead letter topic that is full loses nothing, the event comes again", async () => {
  await using at = await open({ config: quick, engine: memoryEngine({ maxBacklogBytes: 1000 }) });
  await makeGroup(at.runtime, { topic: "dead" });
  const stream = await subscribe(at.runtime, { deadLetterTopic: "dead" });
  await at.publish("t", "precious");
  for (let i = 0; i < 2; i++) stream.answer((await stream.next()).id, Status.RETRY);
  const last = await stream.next();
  await at.publish("dead", "x".repeat(700));
  stream.answer(last.id, Status.RETRY);
  assert.ok(await stream.quiet(30));
  const dead = await subscribe(at.runtime, { topic: "dead" });
  dead.answer((await dead.next()).id);
  assert.equal(textOf(await dead.next()), "precious");
});

test("SubscribeTopicEvents: the first message opens the subscription, and a second such one is refused", async () => {
  await using at = await open();
  const requests = new Queue<ReturnType<typeof request>>();
  requests.push(request("eventProcessed", { id: "1" }));
  const early = at.runtime.subscribeTopicEvents(requests)[Symbol.asyncIterator]();
  assert.equal((await failure(early.next())).code, Code.InvalidArgument);
  const none = new Queue<ReturnType<typeof request>>();
  none.end();
  const empty = at.runtime.subscribeTopicEvents(none)[Symbol.asyncIterator]();
  assert.equal((await failure(empty.next())).code, Code.InvalidArgument);
  const stream = await subscribe(at.runtime);
  stream.send(request("initialRequest", { pubsubName, topic: "t" }));
  const error = await stream.end();
  assert.deepEqual(
    [error?.code, /initial_request/.test(error?.rawMessage ?? "")],
    [Code.InvalidArgument, true],
  );
});

test("SubscribeTopicEvents: any number of streams per topic share its events", async () => {
  await using at = await open();
  const streams = [];
  for (let i = 0; i < 12; i++) streams.push(await subscribe(at.runtime, { metadata: { maxInFlight: "1" } }));
  for (let n = 0; n < 12; n++) await at.publish("t", String(n));
  const events = await Promise.all(streams.map((stream) => stream.next()));
  assert.equal(new Set(events.map(textOf)).size, 12);
});

test("SubscribeTopicEvents: at most limits.inFlight events are unanswered, or fewer by maxInFlight", async () => {
  await using at = await open({ config: { limits: { inFlight: 3 } } });
  for (const [most, metadata] of [
    [3, {}],
    [3, { maxInFlight: "100" }],
    [2, { maxInFlight: "2" }],
  ] as const) {
    const topic = `t${most}${Object.keys(metadata).length}`;
    const stream = await subscribe(at.runtime, { topic, metadata });
    for (let n = 0; n < 6; n++) await at.publish(topic, String(n));
    const events = [];
    for (let i = 0; i < most; i++) events.push(await stream.next());
    assert.ok(await stream.quiet());
    stream.answer("unknown");
    assert.ok(await stream.quiet());
    stream.answer(events[1]?.id ?? "");
    assert.equal(textOf(await stream.next()), String(most));
  }
});

test("SubscribeTopicEvents: half-close ends OK after outstanding acks, and unacked events go back", async () => {
  await using at = await open();
  const stream = await subscribe(at.runtime);
  for (const n of [1, 2, 3]) await at.publish("t", String(n));
  const events = [await stream.next(), await stream.next(), await stream.next()];
  stream.answer(events[1]?.id ?? "");
  stream.halfClose();
  assert.equal(await stream.end(), undefined);
  const next = await subscribe(at.runtime);
  assert.deepEqual([textOf(await next.next()), textOf(await next.next())], ["1", "3"]);
  assert.ok(await next.quiet());
});

/** An engine whose deliveries are acknowledged by `ack`. */
function engineWith(ack: (delivery: Delivery) => Promise<void>): Engine {
  const engine = memoryEngine();
  const topics: Engine["topics"] = {
    publish: (...args) => engine.topics.publish(...args),
    consume: (...args) => {
      const deliveries = engine.topics.consume(...args);
      return (async function* () {
        for await (const delivery of deliveries) yield { ...delivery, ack: () => ack(delivery) };
      })();
    },
  };
  return { ...engine, topics };
}

test("SubscribeTopicEvents: half-close waits for acks that the engine takes its time for", async () => {
  const slow = engineWith((delivery) => sleep(20).then(delivery.ack));
  await using at = await open({ engine: slow });
  const stream = await subscribe(at.runtime);
  await at.publish("t", "x");
  stream.answer((await stream.next()).id);
  stream.halfClose();
  assert.equal(await stream.end(), undefined);
  const next = await subscribe(at.runtime);
  assert.ok(await next.quiet());
});

test("SubscribeTopicEvents: where an ack cannot be kept, the stream ends as unavailable and the event comes again", async () => {
  let broken = true;
  const away = engineWith((delivery) =>
    broken ? Promise.reject(new EngineFault("away", "the disk is gone")) : delivery.ack(),
  );
  await using at = await open({ engine: away });
  const stream = await subscribe(at.runtime);
  await at.publish("t", "x");
  const { id } = await stream.next();
  stream.answer(id);
  assert.equal((await stream.end())?.code, Code.Unavailable);
  broken = false;
  const next = await subscribe(at.runtime);
  assert.equal((await next.next()).id, id);
});

test("SubscribeTopicEvents: unacked events go back when the stream breaks", async () => {
  await using at = await open();
  const stream = await subscribe(at.runtime);
  await at.publish("t", "x");
  const { id } = await stream.next();
  stream.cancel();
  const next = await subscribe(at.runtime);
  assert.equal((await next.next()).id, id);
});

test("SubscribeTopicEvents: two events with the same id are on a stream one after the other, so that answers fit", async () => {
  await using at = await open();
  const stream = await subscribe(at.runtime);
  const publish = (source: string) =>
    at.publish("t", `{"id":"same","source":"${source}"}`, { dataContentType: cloud });
  await publish("/a");
  await publish("/b");
  assert.equal((await stream.next()).source, "/a");
  assert.ok(await stream.quiet());
  stream.answer("same", Status.SUCCESS);
  assert.equal((await stream.next()).source, "/b");
  stream.answer("same", Status.RETRY);
  assert.equal((await stream.next()).source, "/b");
});

/** A server that calls `app` back in this process. */
function openWithApp(app: Partial<ServiceImpl<typeof AppCallback>>) {
  const transport = createRouterTransport((router) => {
    router.service(AppCallback, app);
  });
  return open({
    config: { ...quick, apps: { shop: { url: "http://shop" } } },
    platform: { ...nodePlatform, dial: () => transport },
  });
}

const wants = (...topics: string[]) => ({
  subscriptions: topics.map((topic) => ({ pubsubName, topic, metadata: { deadLetterTopic: "dead" } })),
});

test("AppCallback: the server asks again with backoff until the app answers", async () => {
  const asked: number[] = [];
  let told: ((event: TopicEventRequest) => void) | undefined;
  const event = new Promise<TopicEventRequest>((resolve) => {
    told = resolve;
  });
  await using at = await openWithApp({
    listTopicSubscriptions() {
      asked.push(performance.now());
      if (asked.length < 3)
        throw new ConnectError("starting", asked.length < 2 ? Code.Unavailable : Code.Internal);
      return wants("t");
    },
    onTopicEvent(event: TopicEventRequest) {
      told?.(event);
      return {};
    },
  });
  while (asked.length < 3) await sleep(5);
  await sleep(5);
  await at.publish("t", "x", { metadata: { tenant: "a" } });
  const { pubsubName: from, topic, metadata, data } = await event;
  assert.deepEqual(
    [from, topic, metadata["tenant"], Buffer.from(data).toString()],
    [pubsubName, "t", "a", "x"],
  );
});

test("AppCallback: SUCCESS, RETRY, DROP and errors count as on a stream; the group is the app's name", async () => {
  const seen: string[] = [];
  let here = false;
  await using at = await openWithApp({
    listTopicSubscriptions() {
      here = true;
      return wants("t");
    },
    onTopicEvent(event: TopicEventRequest) {
      const text = textOf(event);
      seen.push(text);
      if (text === "error") throw new ConnectError("boom", Code.FailedPrecondition);
      return {
        status: { retry: Status.RETRY, drop: Status.DROP, odd: 77 as Status }[text] ?? Status.SUCCESS,
      };
    },
  });
  while (!here) await sleep(1);
  await sleep(5);
  const dead = await subscribe(at.runtime, { topic: "dead" });
  for (const text of ["ok", "retry", "drop", "odd", "error"]) await at.publish("t", text);
  const letters = [await dead.next(), await dead.next(), await dead.next()];
  assert.deepEqual(letters.map(textOf).sort(), ["error", "odd", "retry"]);
  const error = letters.find((letter) => textOf(letter) === "error");
  assert.deepEqual(
    [error?.metadata["deadLetterReason"], error?.metadata["deadLetterGroup"]],
    ["the app failed: boom", "shop"],
  );
  assert.ok(await dead.quiet());
  assert.deepEqual(
    ["ok", "drop", "retry", "odd", "error"].map((text) => seen.filter((each) => each === text).length),
    [1, 1, 3, 3, 3],
  );
});

test("AppCallback: the app's subscriptions are dropped when it leaves, and its events wait", async () => {
  let away = false;
  let asked = 0;
  const seen: string[] = [];
  await using at = await openWithApp({
    listTopicSubscriptions() {
      asked++;
      if (away) throw new ConnectError("gone", Code.Unavailable);
      return wants("t");
    },
    onTopicEvent(event: TopicEventRequest) {
      if (away) throw new ConnectError("gone", Code.Unavailable);
      seen.push(textOf(event));
      return {};
    },
  });
  while (asked === 0) await sleep(1);
  await sleep(5);
  away = true;
  await at.publish("t", "1");
  while (asked < 2) await sleep(1);
  // No one of the app's group is there but this one.
  const other = await subscribe(at.runtime, { metadata: { consumerGroup: "shop" } });
  const event = await other.next();
  assert.equal(textOf(event), "1");
  other.halfClose();
  assert.equal(await other.end(), undefined);
  away = false;
  while (seen.length === 0) await sleep(1);
  assert.deepEqual(seen, ["1"]);
});
