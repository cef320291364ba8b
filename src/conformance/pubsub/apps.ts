import { Code, ConnectError } from "@connectrpc/connect";
import { AppCallback, type TopicEventRequest } from "../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import { Queue } from "../../lib/queue.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { eventText, type PubsubCalls, Status } from "./calls.js";

type Handle = (event: TopicEventRequest) => Status | Promise<Status>;

interface AppOptions {
  app?: string;
  topic?: string;
  metadata?: Record<string, string>;
  pubsubName?: string;
  /** Codes with which the first calls of ListTopicSubscriptions fail, in order. */
  refusals?: Code[];
  handle?: Handle;
}

/** Starts an app that dials in and subscribes to one topic. */
async function openApp(at: PubsubCalls, options: AppOptions = {}) {
  const { app = "app", topic = "t", metadata = {}, pubsubName = at.pubsubName, refusals = [] } = options;
  const events = new Queue<TopicEventRequest>();
  let listCalls = 0;
  const tunnel = at.dialIn(at.own(app));
  const serving = tunnel.serve((router) => {
    router.service(AppCallback, {
      listTopicSubscriptions() {
        const code = refusals[listCalls++];
        if (code !== undefined) throw new ConnectError("not yet", code);
        return { subscriptions: [{ pubsubName, topic: at.own(topic), metadata }] };
      },
      async onTopicEvent(event: TopicEventRequest) {
        events.push(event);
        return { status: (await options.handle?.(event)) ?? Status.SUCCESS };
      },
    });
  });
  await serving.ready;
  const incoming = events[Symbol.asyncIterator]();
  return {
    next: async () => (await incoming.next()).value as TopicEventRequest,
    asked: () => listCalls,
    leave: () => tunnel.close(),
  };
}

/** Cases of apps that the server calls. */
export function appCallbackCases(on: DeclareCase<PubsubCalls>): void {
  appEventCases(on);
  appAnswerCases(on);
  appFailureCases(on);
  appGroupCases(on);
}

function appEventCases(on: DeclareCase<PubsubCalls>): void {
  on(
    ["AppCallback", "app"],
    "an app is asked for its subscriptions, and receives their events",
    async (at) => {
      const app = await openApp(at);
      await at.begin({ group: "app" });
      await at.publish("t", Uint8Array.of(0, 255), {
        dataContentType: "image/png",
        metadata: { tenant: "a" },
      });
      const { pubsubName, topic, metadata, data, dataContentType } = await app.next();
      equal([pubsubName, topic, metadata["tenant"]], [at.pubsubName, at.own("t"), "a"]);
      equal([data, dataContentType], [Uint8Array.of(0, 255), "image/png"]);
    },
  );

  on(["AppCallback", "app"], "an app that does not answer yet is asked again until it does", async (at) => {
    await at.begin({ group: "app" });
    const app = await openApp(at, { refusals: [Code.Unavailable, Code.Internal] });
    await at.publish("t", "x");
    equal(eventText(await app.next()), "x");
    ok(app.asked() >= 3, `it was asked ${app.asked()} times`);
  });
}

function appAnswerCases(on: DeclareCase<PubsubCalls>): void {
  on(["AppCallback", "app"], "SUCCESS and DROP settle an event for good", async (at) => {
    await at.begin({ group: "app" });
    const seen: string[] = [];
    const app = await openApp(at, {
      handle(event) {
        seen.push(eventText(event));
        return eventText(event) === "drop" ? Status.DROP : Status.SUCCESS;
      },
    });
    for (const text of ["ok", "drop", "last"]) {
      await at.publish("t", text);
      equal(eventText(await app.next()), text);
    }
    await app.leave();
    // The answer to the last event may have been lost.
    await at.publish("t", "end");
    const stream = await at.subscribe({ group: "app" });
    const first = await stream.text();
    equal(first === "last" ? await stream.text() : first, "end");
    equal(seen, ["ok", "drop", "last"]);
  });
}

function appFailureCases(on: DeclareCase<PubsubCalls>): void {
  for (const [description, answer] of [
    ["RETRY", () => Status.RETRY],
    ["a number that is not known", () => 77 as Status],
    ["an error", () => Promise.reject(new ConnectError("boom", Code.FailedPrecondition))],
  ] as [string, () => Status | Promise<Status>][]) {
    on(["AppCallback", "app"], `${description} lets the event come again`, async (at) => {
      await at.begin({ group: "app" });
      let times = 0;
      const app = await openApp(at, { handle: () => (times++ === 0 ? answer() : Status.SUCCESS) });
      await at.publish("t", "x");
      const [first, again] = [await app.next(), await app.next()];
      equal([again.id, eventText(again)], [first.id, "x"]);
    });
  }

  on(
    ["AppCallback", "app", "quick pubsub"],
    "an event that the app fails too often goes to its deadLetterTopic, with the error",
    async (at) => {
      const { name: pubsubName = "", maxDeliveries = 0 } = at.stores.quickPubsub ?? {};
      await at.begin({ group: "app", pubsubName });
      const dead = await at.subscribe({ topic: "dead", pubsubName });
      let times = 0;
      await openApp(at, {
        pubsubName,
        metadata: { deadLetterTopic: at.own("dead") },
        handle() {
          times++;
          throw new ConnectError("boom", Code.FailedPrecondition);
        },
      });
      await at.publish("t", "x", { pubsubName });
      const { metadata } = await dead.next();
      ok(metadata["deadLetterReason"]?.includes("boom"), `the reason: ${metadata["deadLetterReason"]}`);
      equal([metadata["deadLetterGroup"], times], [at.own("app"), maxDeliveries]);
    },
  );
}

function appGroupCases(on: DeclareCase<PubsubCalls>): void {
  on(
    ["AppCallback", "app"],
    "the group is the app's name, so that apps of one name share and others do not",
    async (at) => {
      for (const group of ["app", "other"]) await at.begin({ group });
      const seen: string[] = [];
      const handle: Handle = (event) => {
        seen.push(eventText(event));
        return Status.SUCCESS;
      };
      await openApp(at, { handle });
      await openApp(at, { handle });
      const other = await openApp(at, { app: "other" });
      for (let n = 0; n < 6; n++) await at.publish("t", String(n));
      for (let n = 0; n < 6; n++) await other.next();
      while (seen.length < 6) await new Promise((resolve) => setTimeout(resolve, 5));
      equal(seen.sort(), ["0", "1", "2", "3", "4", "5"]);
    },
  );

  on(["AppCallback", "app"], "metadata consumerGroup is the group of an app's subscription", async (at) => {
    await at.begin({ group: "chosen" });
    const app = await openApp(at, { metadata: { consumerGroup: at.own("chosen") } });
    await at.publish("t", "x");
    equal(eventText(await app.next()), "x");
    await at.begin({ group: "app" });
    await at.publish("t", "y");
    equal(eventText(await app.next()), "y");
    equal(await (await at.subscribe({ group: "app" })).text(), "y", "the group of its name has its own");
  });

  on(["AppCallback", "app"], "the events of an app that has left wait, until it is back", async (at) => {
    await at.begin({ group: "app" });
    const app = await openApp(at);
    await at.publish("t", "1");
    equal(eventText(await app.next()), "1");
    await app.leave();
    await at.publish("t", "2");
    const again = await openApp(at);
    // The answer to the first event may have been lost.
    const first = eventText(await again.next());
    equal(first === "1" ? eventText(await again.next()) : first, "2");
  });
}
