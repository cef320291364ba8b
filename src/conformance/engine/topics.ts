import { utf8 } from "../../lib/utf8.js";
import type { DeclareEngineCase } from "../engine.js";
import { equal } from "../expect.js";
import { DISTINCT_NAMES, patternBytes } from "../test-data.js";
import { reader } from "./reader.js";
import { neverAborts } from "./timing.js";
import { answerCases, repeatedAnswerCases } from "./topics/answers.js";
import { acknowledgeNext, consumer, numbers, publish } from "./topics/consumer.js";
import {
  competingConsumerCases,
  consumerEndCases,
  unansweredEventCases,
  waitingConsumerCases,
} from "./topics/groups.js";

/** Cases of topics: groups, competing consumers, answers and redelivery. */
export function engineTopicCases(on: DeclareEngineCase): void {
  topicGroupCases(on);
  topicOrderCases(on);
  competingConsumerCases(on);
  waitingConsumerCases(on);
  answerCases(on);
  repeatedAnswerCases(on);
  unansweredEventCases(on);
  consumerEndCases(on);
}

function topicGroupCases(on: DeclareEngineCase): void {
  on("topics.publish() reaches every group of the topic", async ({ topics }) => {
    const [a, b] = [consumer(topics, "a"), consumer(topics, "b")];
    await publish(topics, "1", "2");
    equal(await acknowledgeNext(a, 2), ["1#1", "2#1"]);
    equal(await acknowledgeNext(b, 2), ["1#1", "2#1"]);
  });

  on("topics.publish() without a group reaches nobody, later ones neither", async ({ topics }) => {
    await publish(topics, "before");
    const late = consumer(topics);
    await publish(topics, "after");
    equal(await acknowledgeNext(late, 1), ["after#1"]);
    await late.quiet();
  });

  on("topics.publish() is not for groups that begin later", async ({ topics }) => {
    const early = consumer(topics, "early");
    await publish(topics, "1");
    const late = consumer(topics, "late");
    await publish(topics, "2");
    equal(await acknowledgeNext(early, 2), ["1#1", "2#1"]);
    equal(await acknowledgeNext(late, 1), ["2#1"]);
  });

  on("topics.createGroup() lets events wait for the group's first consumer", async ({ topics }) => {
    await topics.createGroup("t", "g");
    await publish(topics, "1");
    await topics.createGroup("t", "g");
    await publish(topics, "2");
    equal(await acknowledgeNext(consumer(topics), 2), ["1#1", "2#1"]);
  });

  on("topics.publish() keeps topics and groups apart, whatever their names", async ({ topics }) => {
    const consumers = DISTINCT_NAMES.map((name) => ({
      name,
      events: consumer(topics, name, neverAborts(), name),
    }));
    for (const name of DISTINCT_NAMES) await topics.publish(name, [utf8(`of ${name}`)]);
    for (const { name, events } of consumers) {
      equal(await acknowledgeNext(events, 1), [`of ${name}#1`], name);
      await events.quiet(0);
    }
  });

  on("topics.publish() keeps every byte, of an empty event and of a large one", async ({ topics }) => {
    const events = consumer(topics);
    await topics.publish("t", [new Uint8Array(), patternBytes(1024 ** 2)]);
    equal((await events.next()).value, new Uint8Array());
    equal((await events.next()).value, patternBytes(1024 ** 2));
  });

  on("topics.hasWaiting() is so until the last event is acknowledged, whoever has it", async ({ topics }) => {
    equal(await topics.hasWaiting("t", "g"), false);
    const events = consumer(topics);
    consumer(topics, "other");
    equal(await topics.hasWaiting("t", "g"), false);
    await publish(topics, "1", "2");
    equal(await topics.hasWaiting("t", "g"), true);
    const [first, second] = [await events.next(), await events.next()];
    await first.ack();
    equal(await topics.hasWaiting("t", "g"), true);
    await second.ack();
    equal(await topics.hasWaiting("t", "g"), false);
    equal(await topics.hasWaiting("t", "other"), true);
    equal(await topics.hasWaiting("u", "g"), false);
  });
}

function topicOrderCases(on: DeclareEngineCase): void {
  on("topics.consume() begins the group with the call, not with the first read", async ({ topics }) => {
    const events = topics.consume("t", "g", neverAborts());
    await publish(topics, "1");
    equal(await acknowledgeNext(reader(events), 1), ["1#1"]);
  });

  on("topics.consume() delivers in publish order", async ({ topics }) => {
    const events = consumer(topics);
    for (let i = 0; i < 100; i += 4) await publish(topics, ...numbers(100).slice(i, i + 4));
    equal(
      await acknowledgeNext(events, 100),
      numbers(100).map((text) => `${text}#1`),
    );
  });

  on("topics.consume() keeps the order of each of racing publishers", async ({ topics }) => {
    const events = consumer(topics);
    const batches = ["a", "b", "c", "d"].map((name) => numbers(10).map((i) => `${name}${i}`));
    await Promise.all(batches.map((batch) => publish(topics, ...batch)));
    const seen = (await acknowledgeNext(events, 40)).map((text) => text.replace("#1", ""));
    for (const batch of batches) {
      equal(
        seen.filter((text) => batch.includes(text)),
        batch,
      );
    }
  });
}
