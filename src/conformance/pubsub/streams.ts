import { Code } from "@connectrpc/connect";
import type { SubscribeTopicEventsRequest } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { Queue } from "../../lib/queue.js";
import { APP_ID_HEADER } from "../../rpc/extension-headers.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { expectMalformed, expectRefusal, expectUnconfigured, UNKNOWN_NAMES } from "../expect-refusal.js";
import { REQUIRED, UNKNOWN } from "../rules.js";
import { eventText, type PubsubCalls, Status, subscribeRequest } from "./calls.js";

/** Cases of the stream of SubscribeTopicEvents. */
export function topicStreamCases(on: DeclareCase<PubsubCalls>): void {
  initialRequestCases(on);
  sharedTopicCases(on);
  streamEndCases(on);
  pubsubRefusalCases(on);
}

function initialRequestCases(on: DeclareCase<PubsubCalls>): void {
  on("SubscribeTopicEvents", "a first message that is no initial_request is invalid_argument", async (at) => {
    const requests = new Queue<SubscribeTopicEventsRequest>();
    requests.push(subscribeRequest("eventProcessed", { id: "1" }));
    const stream = at.runtime.subscribeTopicEvents(requests)[Symbol.asyncIterator]();
    await expectRefusal(stream.next(), Code.InvalidArgument);
  });

  on("SubscribeTopicEvents", "no message at all is invalid_argument", async (at) => {
    const none = new Queue<SubscribeTopicEventsRequest>();
    none.end();
    const stream = at.runtime.subscribeTopicEvents(none)[Symbol.asyncIterator]();
    await expectRefusal(stream.next(), Code.InvalidArgument);
  });

  on(
    "SubscribeTopicEvents",
    "a second initial_request is invalid_argument, and ends the stream",
    async (at) => {
      const stream = await at.subscribe();
      stream.send(subscribeRequest("initialRequest", { pubsubName: at.pubsubName, topic: at.own("t") }));
      const error = await stream.end();
      equal(error?.code, Code.InvalidArgument);
      ok(error?.rawMessage.includes("initial_request"), `it is named: ${error?.rawMessage}`);
    },
  );

  on("SubscribeTopicEvents", "an answer to what was not sent is no matter", async (at) => {
    const stream = await at.subscribe();
    stream.answer("unknown");
    await at.publish("t", "x");
    equal(await stream.text(), "x");
  });
}

function sharedTopicCases(on: DeclareCase<PubsubCalls>): void {
  on("SubscribeTopicEvents", "any number of streams per topic share its events", async (at) => {
    const members = [];
    for (let i = 0; i < 8; i++) members.push(await at.subscribe({ metadata: { maxInFlight: "1" } }));
    for (let n = 0; n < 8; n++) await at.publish("t", String(n));
    const events = await Promise.all(members.map((member) => member.next()));
    equal(new Set(events.map(eventText)).size, 8);
  });

  for (const most of [1, 2, 5]) {
    on(
      ["SubscribeTopicEvents", "extensions"],
      `with maxInFlight ${most} at most so many events are unanswered`,
      async (at) => {
        const stream = await at.subscribe({ metadata: { maxInFlight: String(most) } });
        for (let n = 0; n < most + 2; n++) await at.publish("t", String(n));
        const held = [];
        for (let i = 0; i < most; i++) held.push(await stream.next());
        await stream.quiet();
        stream.answer(held.at(-1)?.id ?? "");
        equal(eventText(await stream.next()), String(most));
        await stream.quiet();
      },
    );
  }

  on(
    "SubscribeTopicEvents",
    "two events with the same id are on a stream one after the other, so that answers fit",
    async (at) => {
      const stream = await at.subscribe();
      const publish = (source: string) =>
        at.publish("t", `{"specversion":"1.0","id":"same","source":"${source}"}`, {
          dataContentType: "application/cloudevents+json",
        });
      await publish("/a");
      await publish("/b");
      equal((await stream.next()).source, "/a");
      await stream.quiet();
      stream.answer("same", Status.SUCCESS);
      equal((await stream.next()).source, "/b");
      stream.answer("same", Status.RETRY);
      equal((await stream.next()).source, "/b");
    },
  );
}

function streamEndCases(on: DeclareCase<PubsubCalls>): void {
  on("SubscribeTopicEvents", "half-close ends OK, and what was not answered goes back", async (at) => {
    const stream = await at.subscribe();
    for (const n of [1, 2, 3]) await at.publish("t", String(n));
    const held = [await stream.next(), await stream.next(), await stream.next()];
    stream.answer(held[1]?.id ?? "");
    stream.halfClose();
    equal(await stream.end(), undefined);
    const next = await at.subscribe();
    equal([await next.text(), await next.text()], ["1", "3"]);
    await next.quiet();
  });

  on("SubscribeTopicEvents", "half-close with nothing to answer ends OK at once", async (at) => {
    const stream = await at.subscribe();
    stream.halfClose();
    equal(await stream.end(), undefined);
  });

  on("SubscribeTopicEvents", "what was not answered goes back when the client cancels", async (at) => {
    const stream = await at.subscribe();
    await at.publish("t", "x");
    const { id } = await stream.next();
    stream.cancel();
    const next = await at.subscribe();
    equal((await next.next()).id, id);
  });

  on(
    "SubscribeTopicEvents",
    "what was answered before the client cancels does not come again",
    async (at) => {
      const stream = await at.subscribe({ metadata: { maxInFlight: "1" } });
      await at.publish("t", "1");
      await at.publish("t", "2");
      equal(await stream.text(), "1");
      // The second event comes after the first answer was processed.
      equal(eventText(await stream.next()), "2");
      stream.cancel();
      const next = await at.subscribe();
      equal(await next.text(), "2");
      await next.quiet();
    },
  );

  on("SubscribeTopicEvents", "a member that leaves takes nothing from the others", async (at) => {
    const [one, other] = [await at.subscribe(), await at.subscribe()];
    one.halfClose();
    equal(await one.end(), undefined);
    for (const n of [1, 2, 3]) await at.publish("t", String(n));
    equal([await other.text(), await other.text(), await other.text()], ["1", "2", "3"]);
  });
}

function pubsubRefusalCases(on: DeclareCase<PubsubCalls>): void {
  on(REQUIRED, "PublishEvent needs a pubsub and a topic, well formed", async (at) => {
    const { publishEvent } = at.runtime;
    const { pubsubName } = at;
    await expectMalformed(publishEvent({ pubsubName: "", topic: "t" }), "pubsub_name");
    await expectMalformed(publishEvent({ pubsubName, topic: "" }), "topic");
    await expectMalformed(publishEvent({ pubsubName, topic: "a\u0000b" }), "topic");
    await expectMalformed(publishEvent({ pubsubName, topic: "x".repeat(256) }), "topic");
  });

  for (const ttlInSeconds of ["soon", "1.5", "", "1e3"]) {
    on(
      [REQUIRED, "extensions"],
      `an event's ttlInSeconds of "${ttlInSeconds}" is invalid_argument`,
      async (at) => {
        await expectMalformed(
          at.publish("t", "", { metadata: { ttlInSeconds } }),
          'metadata["ttlInSeconds"]',
        );
      },
    );
  }

  on(REQUIRED, "a subscription needs a pubsub and a topic, well formed", async (at) => {
    await expectMalformed(at.subscribe({ topic: "" }), "initial_request.topic");
    await expectMalformed(at.subscribe({ pubsubName: "" }), "initial_request.pubsub_name");
    await expectMalformed(at.subscribe({ deadLetterTopic: "\n" }), "initial_request.dead_letter_topic");
  });

  on(REQUIRED, "a topic may not be its own dead letter topic", async (at) => {
    await expectMalformed(at.subscribe({ deadLetterTopic: "t" }), "initial_request.dead_letter_topic");
  });

  on(
    [REQUIRED, "extensions"],
    "a subscription's metadata that means something must be well formed",
    async (at) => {
      const field = (name: string) => `initial_request.metadata["${name}"]`;
      for (const maxInFlight of ["0", "-1", "x", ""]) {
        await expectMalformed(at.subscribe({ metadata: { maxInFlight } }), field("maxInFlight"));
      }
      await expectMalformed(at.subscribe({ metadata: { consumerGroup: "\n" } }), field("consumerGroup"));
      const headers = { [APP_ID_HEADER]: "x".repeat(256) };
      await expectMalformed(at.subscribe({ group: "", headers }), APP_ID_HEADER);
    },
  );

  on(UNKNOWN, "a pubsub that is not configured is invalid_argument, naming it", async (at) => {
    for (const pubsubName of UNKNOWN_NAMES) {
      await expectUnconfigured(at.publish("t", "", { pubsubName }), "pubsub", pubsubName);
      await expectUnconfigured(at.subscribe({ pubsubName }), "pubsub", pubsubName);
    }
  });
}
