import { fromUtf8, utf8 } from "../../lib/utf8.js";
import type { Delivery, TopicStore } from "../../server/engine.js";
import type { DeclareEngineCase } from "../engine.js";
import { equal, ok } from "../expect.js";
import {
  collect,
  DISTINCT_NAMES,
  LATE_MS,
  neverAborts,
  patternBytes,
  type Reader,
  reader,
  sleepMs,
} from "./steps.js";

/** Topics: groups, their competing consumers, answers and what comes again. */
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

const publish = (topics: TopicStore, ...texts: string[]) => topics.publish("t", texts.map(utf8));

const consumer = (topics: TopicStore, group = "g", signal = neverAborts(), topic = "t"): Reader<Delivery> =>
  reader(topics.consume(topic, group, signal));

const formatDelivery = ({ value, attempt }: Delivery) => `${fromUtf8(value)}#${attempt}`;

/** Takes and acknowledges the next `count` events, one after the other. */
async function acknowledgeNext(events: Reader<Delivery>, count: number): Promise<string[]> {
  const seen: string[] = [];
  while (seen.length < count) {
    const event = await events.next();
    seen.push(formatDelivery(event));
    await event.ack();
  }
  return seen;
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i}`);

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

function competingConsumerCases(on: DeclareEngineCase): void {
  on("topics.consume() gives each event to one consumer of the group", async ({ topics }) => {
    const consumers = [consumer(topics), consumer(topics), consumer(topics)];
    const seen: string[] = [];
    let done = () => {};
    const all100 = new Promise<void>((resolve) => {
      done = resolve;
    });
    for (const events of consumers) {
      void (async () => {
        while (true) {
          seen.push(...(await acknowledgeNext(events, 1)));
          if (seen.length >= 100) done();
        }
      })().catch(() => {});
    }
    for (let i = 0; i < 100; i += 5) await publish(topics, ...numbers(100).slice(i, i + 5));
    await all100;
    await sleepMs(10);
    equal(
      [...seen].sort(),
      numbers(100)
        .map((text) => `${text}#1`)
        .sort(),
    );
  });

  on("topics.consume() claims one event by each step, and leaves the rest to others", async ({ topics }) => {
    const [slow, fast] = [consumer(topics), consumer(topics)];
    await publish(topics, ...numbers(5));
    const first = await slow.next();
    const rest = await acknowledgeNext(fast, 4);
    equal([formatDelivery(first), ...rest], ["0#1", "1#1", "2#1", "3#1", "4#1"]);
  });
}

function waitingConsumerCases(on: DeclareEngineCase): void {
  on("topics.consume() lets no consumer that waits go without", async ({ topics }) => {
    const consumers = [consumer(topics), consumer(topics), consumer(topics)];
    const shares = consumers.map(() => 0);
    let answered = () => {};
    for (const [i, events] of consumers.entries()) {
      void (async () => {
        while (true) {
          await acknowledgeNext(events, 1);
          shares[i] = (shares[i] ?? 0) + 1;
          answered();
        }
      })().catch(() => {});
    }
    for (const text of numbers(30)) {
      const handledOne = new Promise<void>((resolve) => {
        answered = resolve;
      });
      await publish(topics, text);
      await handledOne;
    }
    for (const share of shares) ok(share > 0, `the shares are ${shares.join(", ")}`);
  });

  on("topics.consume() wakes one that waits for what another one left behind", async ({ topics }) => {
    const enough = new AbortController();
    const [leaves, stays] = [consumer(topics, "g", enough.signal), consumer(topics)];
    await leaves.quiet(5);
    await stays.quiet(5);
    // The event may be on its way to the one that leaves.
    const published = publish(topics, "1");
    enough.abort();
    await published;
    const event = await stays.next();
    equal(fromUtf8(event.value), "1");
    await leaves.end();
  });
}

function answerCases(on: DeclareEngineCase): void {
  on("delivery.ack() and drop() end the event for the group", async ({ topics }) => {
    const enough = new AbortController();
    const events = consumer(topics, "g", enough.signal);
    await publish(topics, "1", "2", "3");
    await (await events.next()).ack();
    await (await events.next()).drop();
    await events.next();
    enough.abort();
    const again = consumer(topics);
    equal(await acknowledgeNext(again, 1), ["3#2"]);
    await again.quiet();
  });

  on("delivery.retry() lets the group see the event again, and counts its attempts", async ({ topics }) => {
    const events = consumer(topics);
    await publish(topics, "1");
    for (const attempt of [1, 2, 3, 4]) {
      const event = await events.next();
      equal(formatDelivery(event), `1#${attempt}`);
      await event.retry(0);
    }
    equal(await acknowledgeNext(events, 1), ["1#5"]);
    await events.quiet();
  });

  on("delivery.retry() waits for its delay, and holds nothing else up", async ({ topics }) => {
    const events = consumer(topics);
    await publish(topics, "1", "2", "3");
    const first = await events.next();
    const retriedMs = Date.now();
    await first.retry(50);
    equal(await acknowledgeNext(events, 2), ["2#1", "3#1"]);
    equal(await acknowledgeNext(events, 1), ["1#2"]);
    const waitedMs = Date.now() - retriedMs;
    ok(waitedMs >= 48 && waitedMs < 50 + LATE_MS, `it came again after ${waitedMs} ms`);
  });

  on("delivery.retry() of one group is nothing to another", async ({ topics }) => {
    const [a, b] = [consumer(topics, "a"), consumer(topics, "b")];
    await publish(topics, "1");
    await (await a.next()).retry(0);
    equal(await acknowledgeNext(b, 1), ["1#1"]);
    equal(await acknowledgeNext(a, 1), ["1#2"]);
    await b.quiet();
  });
}

function repeatedAnswerCases(on: DeclareEngineCase): void {
  on("delivery: a second answer does nothing", async ({ topics }) => {
    const events = consumer(topics);
    await publish(topics, "1", "2");
    const first = await events.next();
    await first.ack();
    await first.retry(0);
    const second = await events.next();
    await second.retry(0);
    await second.ack();
    await second.drop();
    await second.retry(0);
    equal(await acknowledgeNext(events, 1), ["2#2"]);
    await events.quiet();
  });

  on("delivery: an answer after the consumer has ended does nothing", async ({ topics }) => {
    const enough = new AbortController();
    const events = consumer(topics, "g", enough.signal);
    await publish(topics, "1", "2");
    const [acks, retries] = [await events.next(), await events.next()];
    enough.abort();
    await acks.ack();
    await retries.retry(0);
    const again = consumer(topics);
    equal(await acknowledgeNext(again, 2), ["1#2", "2#2"]);
    await again.quiet();
  });
}

function unansweredEventCases(on: DeclareEngineCase): void {
  on("topics.consume(): what is unanswered at the end goes back to the front", async ({ topics }) => {
    const enough = new AbortController();
    const events = consumer(topics, "g", enough.signal);
    await publish(topics, "1", "2", "3", "4");
    await acknowledgeNext(events, 1);
    await events.next();
    await events.next();
    enough.abort();
    equal(await acknowledgeNext(consumer(topics), 3), ["2#2", "3#2", "4#1"]);
  });

  on("topics.consume(): leaving the loop gives back as well", async ({ topics }) => {
    const events = topics.consume("t", "g", neverAborts());
    await publish(topics, "1", "2");
    for await (const event of events) {
      equal(formatDelivery(event), "1#1");
      break;
    }
    equal(await acknowledgeNext(consumer(topics), 2), ["1#2", "2#1"]);
  });

  on("topics.consume(): what goes back is for those who wait already", async ({ topics }) => {
    const enough = new AbortController();
    const [leaves, waits] = [consumer(topics, "g", enough.signal), consumer(topics)];
    await publish(topics, "1");
    await leaves.next();
    await waits.quiet(5);
    enough.abort();
    equal(await acknowledgeNext(waits, 1), ["1#2"]);
  });

  on(
    "topics.consume(): the group outlives its consumers, and events wait for the next",
    async ({ topics }) => {
      const enough = new AbortController();
      const events = consumer(topics, "g", enough.signal);
      await publish(topics, "1");
      equal(await acknowledgeNext(events, 1), ["1#1"]);
      await events.quiet(5);
      enough.abort();
      await publish(topics, "2");
      await publish(topics, "3", "4");
      equal(await acknowledgeNext(consumer(topics), 3), ["2#1", "3#1", "4#1"]);
    },
  );

  on("topics.consume(): a delayed event outlives the consumer that put it off", async ({ topics }) => {
    const enough = new AbortController();
    const events = consumer(topics, "g", enough.signal);
    await publish(topics, "1");
    await (await events.next()).retry(30);
    enough.abort();
    const again = consumer(topics);
    await again.quiet(10);
    equal(await acknowledgeNext(again, 1), ["1#2"]);
  });
}

function consumerEndCases(on: DeclareEngineCase): void {
  on(
    "topics.consume() ends when its signal aborts, while it waits and before it is read",
    async ({ topics }) => {
      const enough = new AbortController();
      const waits = consumer(topics, "g", enough.signal);
      const unread = topics.consume("t", "other", enough.signal);
      await waits.quiet(5);
      const end = waits.end();
      enough.abort();
      await end;
      await publish(topics, "1");
      equal(await collect(unread), []);
    },
  );

  on("topics.consume() with a signal that has aborted ends at once", async ({ topics }) => {
    const lasting = consumer(topics);
    await publish(topics, "1");
    equal(await collect(topics.consume("t", "g", AbortSignal.abort())), []);
    equal(await acknowledgeNext(lasting, 1), ["1#1"]);
  });
}
