import assert from "node:assert/strict";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createClient,
  createRouterTransport,
  type Transport,
} from "@connectrpc/connect";
import { test } from "vitest";
import { z } from "zod";
import { AppCallback, TopicEventRequestSchema } from "../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import { text } from "../../src/client/codec.js";
import { createCallbacks } from "../../src/client/pubsub/app-callback.js";
import type { EventHandler, TopicEvent } from "../../src/client/pubsub.js";
import { createPubsub, type Pubsub } from "../../src/client/pubsub.js";
import { sleep } from "../../src/rpc/sleep.js";
import { Components } from "../../src/server/config/components.js";
import { parseConfig } from "../../src/server/config/config.js";
import { type ServiceContext, silent } from "../../src/server/context.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { nodePlatform } from "../../src/server/node.js";
import type { ServerOptions } from "../../src/server/server.js";
import { joinApp } from "../../src/server/services/pubsub/apps.js";
import { topicOf } from "../../src/server/services/pubsub/delivery.js";
import { AppRegistry } from "../../src/server/tunnel/app-registry.js";
import { type ServedCallbacks, serveCallbacks } from "../../src/transport/callbacks.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { openInProcess } from "../support/protocols.js";

/** Short delays of redelivery, few deliveries, and frequent questions to apps. */
const quick = { pubsub: { default: { retryMinMs: 1, retryMaxMs: 8, maxDeliveries: 3 } } };

/** A server with one configured app in this process. */
async function openWith(routes: (router: ConnectRouter) => void, options: ServerOptions = {}) {
  const transport = createRouterTransport(routes);
  const config = { ...quick, apps: { app: { url: "http://app", askEveryMs: 10 } }, ...options.config };
  const at = await openInProcess({
    ...options,
    config,
    platform: { ...nodePlatform, dial: () => transport },
  });
  return Object.assign(at, { pubsub: createPubsub(at.transport, "default") });
}

/** Collects log lines. */
function logging() {
  const lines: string[] = [];
  const keep = (_fields: object, text: string) => void lines.push(text);
  return { lines, log: { debug() {}, info: keep, warn: keep, error: keep } };
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; !holds(); i++) {
    assert.ok(i < 2000, `never: ${what}`);
    await sleep(2);
  }
}

/** Publishes "hello" until it is handled: from then on the app's group exists. */
async function greet(pubsub: Pubsub, topic: string, greeted: () => boolean): Promise<void> {
  for (let i = 0; !greeted(); i++) {
    assert.ok(i < 500, "the app received no event");
    await pubsub.publish(topic, "hello");
    await sleep(10);
  }
}

const portOf = async (): Promise<number> => {
  const served = await serveCallbacks({}, { port: 0 });
  await served.close();
  return served.port;
};

for (const protocol of ["grpc", "grpc-web", "connect"] as const) {
  test(`an app on a port receives events over ${protocol}, also if it starts late, leaves and returns`, async () => {
    const port = await portOf();
    const seen: unknown[] = [];
    const serve = (): Promise<ServedCallbacks> =>
      serveCallbacks(
        { orders: ({ data }) => void (data === "hello" || seen.push(data)), hello: greeting },
        { port },
      );
    let greeted = false;
    const greeting = () => {
      greeted = true;
    };
    const url = `http://127.0.0.1:${port}`;
    await using at = await openInProcess({ config: { ...quick, apps: { shop: { url, protocol } } } });
    const pubsub = createPubsub(at.transport, "default");
    await sleep(20);
    const first = await serve();
    await greet(pubsub, "hello", () => greeted);
    await pubsub.publish("orders", { id: 1 });
    await until(() => seen.length === 1, "the first event");
    await first.close();
    for (const id of [2, 3, 4]) await pubsub.publish("orders", { id });
    await sleep(20);
    assert.equal(seen.length, 1);
    await using _back = await serve();
    await until(() => seen.length >= 4, "the events that waited");
    const ids = seen.map((order) => (order as { id: number }).id);
    assert.deepEqual(ids.sort(), [1, 2, 3, 4]);
  });
}

test("serveCallbacks() answers gRPC and Connect on one port, and close() waits for open calls", async () => {
  let begun = false;
  const handler = async () => {
    begun = true;
    await sleep(20);
  };
  const served = await serveCallbacks({ slow: handler }, { port: 0 });
  await using grpc = createNodeTransport(served.url, { protocol: "grpc" });
  const http1 = createNodeTransport(served.url, { httpVersion: "1.1", json: true });
  const wanted = await createClient(AppCallback, http1).listTopicSubscriptions({});
  assert.equal(wanted.subscriptions[0]?.topic, "slow");
  const client = createClient(AppCallback, grpc);
  const handled = client.onTopicEvent({ id: "1", pubsubName: "default", topic: "slow" });
  await until(() => begun, "the event");
  await Promise.all([served.close(), served.close()]);
  assert.equal((await handled).status, 0);
  await assert.rejects(client.listTopicSubscriptions({}), ConnectError);
});

test("the entry of a handler sets pubsub, topic, group, dead letter topic and further metadata", async () => {
  const routes = createCallbacks(
    {
      plain: () => "success",
      full: {
        handler: () => "success",
        topic: "orders",
        pubsub: "bus",
        group: "g",
        deadLetterTopic: "dead",
        metadata: { x: "y" },
      },
    },
    { pubsub: "main" },
  );
  const { subscriptions } = await createClient(
    AppCallback,
    createRouterTransport(routes),
  ).listTopicSubscriptions({});
  assert.deepEqual(
    subscriptions.map(({ pubsubName, topic, metadata }) => ({ pubsubName, topic, metadata })),
    [
      { pubsubName: "main", topic: "plain", metadata: {} },
      {
        pubsubName: "bus",
        topic: "orders",
        metadata: { x: "y", consumerGroup: "g", deadLetterTopic: "dead" },
      },
    ],
  );
});

test("handlers get decoded data: by media type, codec or schema", async () => {
  const seen: unknown[] = [];
  const order = z.object({ n: z.number() });
  await using at = await openWith(
    createCallbacks({
      any: ({ data }) => void seen.push(data),
      text: { codec: text(), handler: ({ data }) => void seen.push(data.toUpperCase()) },
      checked: { schema: order, handler: ({ data }) => void seen.push(data.n + 1) },
    }),
  );
  for (; seen.length === 0; await sleep(10)) await at.pubsub.publish("any", [1]);
  await at.pubsub.publish("text", "abc");
  await until(() => seen.includes("ABC"), "text");
  await at.pubsub.publish("checked", { n: 1 });
  await until(() => seen.includes(2), "checked");
  assert.deepEqual(seen[0], [1]);
});

test('after "retry" or a throw the event is delivered again, and the dead letter has the error', async () => {
  const letters: TopicEvent[] = [];
  const errors: unknown[] = [];
  const tries: Record<string, number> = {};
  let ready = false;
  await using at = await openWith(
    createCallbacks(
      {
        work: {
          deadLetterTopic: "dead",
          handler: ({ data }) => {
            if (data === "hello") {
              ready = true;
              return "success";
            }
            const n = (tries[String(data)] = (tries[String(data)] ?? 0) + 1);
            if (data === "twice") return n < 2 ? "retry" : "success";
            if (data === "never") return "retry";
            throw new ConnectError("the database is away", Code.Unavailable);
          },
        },
        dead: (event) => void letters.push(event),
      },
      { onError: (error) => errors.push(error) },
    ),
  );
  await greet(at.pubsub, "work", () => ready);
  for (const word of ["twice", "never", "throws"]) await at.pubsub.publish("work", word);
  await until(() => letters.length === 2 && tries["twice"] === 2, "the dead letters");
  assert.deepEqual(tries, { twice: 2, never: 3, throws: 3 });
  const reasons = Object.fromEntries(
    letters.map(({ data, metadata }) => [data, metadata["deadLetterReason"]]),
  );
  assert.equal(reasons["never"], "the app asked for another delivery");
  // A handler that throws `unavailable` does not mean that the app has left.
  assert.equal(reasons["throws"], "the app failed: [unavailable] the database is away");
  assert.equal(errors.length, 3);
});

test('"drop" ends the event, and an invalid result counts as a throw', async () => {
  const { lines, log } = logging();
  const errors: unknown[] = [];
  const seen: unknown[] = [];
  await using at = await openWith(
    createCallbacks(
      {
        t: ({ data }) => {
          if (data === "hello" || data === "end") seen.push(data);
          return data === "odd" ? ("ok" as never) : data === "dropped" ? "drop" : "success";
        },
      },
      { onError: (error) => errors.push(error) },
    ),
    { log },
  );
  await greet(at.pubsub, "t", () => seen.length > 0);
  for (const word of ["dropped", "odd", "end"]) await at.pubsub.publish("t", word);
  await until(() => seen.includes("end") && errors.length === 3, "the end");
  assert.match(String(errors[0]), /must return "success", "retry", "drop" or nothing, got ok/);
  assert.ok(lines.includes("a consumer dropped an event"));
});

test("an app that answers `unavailable` has left: its event waits, and the delivery does not count as failed", async () => {
  const { lines, log } = logging();
  let away = true;
  let asked = 0;
  const handled: string[] = [];
  await using at = await openWith(
    (router) => {
      router.service(AppCallback, {
        listTopicSubscriptions() {
          asked++;
          return { subscriptions: [{ pubsubName: "default", topic: "t" }] };
        },
        onTopicEvent({ data }) {
          if (away) throw new ConnectError("going down", Code.Unavailable);
          handled.push(Buffer.from(data).toString());
          return {};
        },
      });
    },
    // One more than the deliveries that must happen; a failed one would be the last.
    { log, config: { pubsub: { default: { retryMinMs: 1, retryMaxMs: 1, maxDeliveries: 1 } } } },
  );
  await until(() => asked > 0, "asked");
  await sleep(5);
  await at.pubsub.publish("t", "x");
  await until(() => lines.filter((line) => line.startsWith("an app left")).length >= 2, "left twice");
  away = false;
  await until(() => handled.length > 0, "handled");
  assert.deepEqual(handled, ["x"]);
  assert.ok(!lines.some((line) => line.includes("dropped")));
});

test("if an app returns with other subscriptions, the server notices it without an event", async () => {
  const seen: string[] = [];
  let topic = "a";
  await using at = await openWith((router) => {
    router.service(AppCallback, {
      listTopicSubscriptions: () => ({ subscriptions: [{ pubsubName: "default", topic }] }),
      onTopicEvent(event) {
        seen.push(event.topic);
        return {};
      },
    });
  });
  await greet(at.pubsub, "a", () => seen.includes("a"));
  topic = "b";
  await greet(at.pubsub, "b", () => seen.includes("b"));
  const before = seen.filter((each) => each === "a").length;
  await at.pubsub.publish("a", "more");
  await sleep(10);
  assert.equal(seen.filter((each) => each === "a").length, before);
});

test("an app without AppCallback has no subscriptions; invalid subscriptions are left out with a warning", async () => {
  const { lines, log } = logging();
  await using none = await openWith(() => {}, { log });
  await until(() => lines.includes("an app is here"), "asked");
  assert.deepEqual(lines, ["an app is here"]);
  await none.pubsub.publish("t", "x");

  let handled = 0;
  await using some = await openWith(
    (router) => {
      router.service(AppCallback, {
        listTopicSubscriptions: () => ({
          subscriptions: [
            { pubsubName: "nope", topic: "t" },
            { pubsubName: "default", topic: "" },
            { pubsubName: "default", topic: "loop", metadata: { deadLetterTopic: "loop" } },
            { pubsubName: "default", topic: "t" },
          ],
        }),
        onTopicEvent() {
          handled++;
          return {};
        },
      });
    },
    { log },
  );
  await greet(some.pubsub, "t", () => handled > 0);
  await sleep(30);
  assert.equal(lines.filter((line) => line === "a subscription of an app is left out").length, 3);
});

test("at most inFlight events are sent to an app at a time, and its answers make room for the next", async () => {
  let now = 0;
  let most = 0;
  let done = 0;
  const work = async () => {
    most = Math.max(most, ++now);
    await sleep(2);
    now--;
    done++;
  };
  await using at = await openWith(createCallbacks({ t: work }), { config: { limits: { inFlight: 4 } } });
  await greet(at.pubsub, "t", () => done > 0);
  const before = done;
  await Promise.all(Array.from({ length: 40 }, (_, n) => at.pubsub.publish("t", n)));
  await until(() => done >= before + 40, "all of them");
  assert.equal(most, 4);
});

test("an app that exceeds its timeout has failed, and its handler's signal aborts", async () => {
  let tries = 0;
  const aborted: boolean[] = [];
  const { lines, log } = logging();
  await using at = await openWith(
    createCallbacks({
      t: async ({ data }, { signal }) => {
        tries++;
        if (data === "hello") return;
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
        aborted.push(signal.aborted);
      },
    }),
    { log, config: { ...quick, apps: { app: { url: "http://app", timeoutMs: 10 } } } },
  );
  await greet(at.pubsub, "t", () => tries > 0);
  await at.pubsub.publish("t", "slow");
  await until(() => aborted.length === 3, "three tries");
  await until(() => lines.some((line) => line.startsWith("an event is dropped after")), "its last delivery");
});

test("events without a handler are delivered again: a newer version of the app may have one", async () => {
  const errors: unknown[] = [];
  const client = createClient(
    AppCallback,
    createRouterTransport(createCallbacks({ t: () => {} }, { onError: (error) => errors.push(error) })),
  );
  const event = { id: "1", pubsubName: "default", topic: "other" };
  await assert.rejects(client.onTopicEvent(event), { code: Code.Internal });
  assert.match(String(errors[0]), /no handler for topic "other" of pubsub "default"/);
});

test("an app that joined at run time leaves when its signal aborts: others with its name take over at once", async () => {
  const config = parseConfig(quick);
  await using engine = memoryEngine();
  const closing = new AbortController();
  const context: ServiceContext = {
    engine,
    components: new Components(config),
    limits: config.limits,
    gossip: config.gossip,
    apps: new AppRegistry({ engine, limits: config.limits, closing: closing.signal, log: silent }),
    platform: nodePlatform,
    log: silent,
    count() {},
    draining: closing.signal,
    closing: closing.signal,
    beforeClose() {},
    appId: "fairlead",
  };
  const appOf = (handler: EventHandler) => createRouterTransport(createCallbacks({ t: handler }));
  const [first, second] = [new AbortController(), new AbortController()];
  let hung: AbortSignal | undefined;
  const stuck = joinApp(
    context,
    "app",
    appOf((_event, { signal }) => {
      hung = signal;
      return new Promise(() => {});
    }),
    first.signal,
  );
  await sleep(5);
  await engine.topics.publish(topicOf("default", "t"), [
    toBinary(
      TopicEventRequestSchema,
      create(TopicEventRequestSchema, { id: "1", pubsubName: "default", topic: "t" }),
    ),
  ]);
  await until(() => hung !== undefined, "the first app");
  let handled = "";
  const working = joinApp(
    context,
    "app",
    appOf(({ id }) => void (handled = id)),
    second.signal,
  );
  await sleep(5);
  assert.equal(handled, "");
  first.abort();
  await stuck;
  await until(() => handled === "1", "the second app");
  assert.equal(hung?.aborted, true);
  second.abort();
  await working;
});

test("without a configured app none is called, and a closing server calls none", async () => {
  let dialled = 0;
  let asked = 0;
  const dial = (): Transport => {
    dialled++;
    return createRouterTransport((router) => {
      router.service(AppCallback, {
        listTopicSubscriptions() {
          asked++;
          throw new ConnectError("not yet", Code.Unavailable);
        },
      });
    });
  };
  await using _none = await openInProcess({ platform: { ...nodePlatform, dial } });
  assert.equal(dialled, 0);
  const at = await openInProcess({
    platform: { ...nodePlatform, dial },
    config: { apps: { a: { url: "http://a" } } },
  });
  await until(() => asked > 0, "asked");
  await at.server.close();
  const before = asked;
  await sleep(150);
  assert.equal(asked, before);
});
