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
import { test } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import {
  AppCallback,
  TopicEventResponse_TopicEventResponseStatus as Status,
  type TopicEventRequest,
} from "../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import { Runtime, SubscribeTopicEventsRequestSchema } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { Queue } from "../../src/lib/queue.js";
import { utf8 } from "../../src/lib/utf8.js";
import { sleep } from "../../src/rpc/sleep.js";
import { silent } from "../../src/server/context.js";
import { type Delivery, type Engine, EngineFault } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { nodePlatform } from "../../src/server/node.js";
import type { ServerOptions } from "../../src/server/server.js";
import { openInProcess } from "../support/protocols.js";
import { failure } from "./failure.js";

const pubsubName = "default";
const quick = { pubsub: { default: { retryMinMs: 1, retryMaxMs: 8, maxDeliveries: 3 } } };

async function open(options: ServerOptions = { config: quick }) {
  const at = await openInProcess(options);
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

/** An engine whose deliveries are acknowledged by `ack`. */
function engineWith(ack: (delivery: Delivery) => Promise<void>): Engine {
  const engine = memoryEngine();
  const topics: Engine["topics"] = {
    publish: (...args) => engine.topics.publish(...args),
    createGroup: (...args) => engine.topics.createGroup(...args),
    hasWaiting: (...args) => engine.topics.hasWaiting(...args),
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

test.each(["unavailable", "full"] as const)(
  "SubscribeTopicEvents: if an ack cannot be stored (%s), the stream ends as unavailable and the event is delivered again",
  async (reason) => {
    let broken = true;
    const failing = engineWith((delivery) =>
      broken ? Promise.reject(new EngineFault(reason, "the disk is gone")) : delivery.ack(),
    );
    await using at = await open({ engine: failing });
    const stream = await subscribe(at.runtime);
    await at.publish("t", "x");
    const { id } = await stream.next();
    stream.answer(id);
    assert.equal((await stream.end())?.code, Code.Unavailable);
    broken = false;
    const next = await subscribe(at.runtime);
    assert.equal((await next.next()).id, id);
  },
);

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

/** Resolves when the group of the app exists, so that events wait for it. */
async function appGroup(runtime: Client<typeof Runtime>): Promise<void> {
  const stream = await subscribe(runtime, { metadata: { consumerGroup: "shop" } });
  stream.halfClose();
  assert.equal(await stream.end(), undefined);
}

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
  await appGroup(at.runtime);
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
  await appGroup(at.runtime);
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
  await appGroup(at.runtime);
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
