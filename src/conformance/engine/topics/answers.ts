import type { DeclareEngineCase } from "../../engine.js";
import { equal, ok } from "../../expect.js";
import { LATE_MS } from "../timing.js";
import { acknowledgeNext, consumer, formatDelivery, publish } from "./consumer.js";

export function answerCases(on: DeclareEngineCase): void {
  on("delivery.ack() and drop() end the event for the group", async ({ topics }) => {
    const stop = new AbortController();
    const events = consumer(topics, "g", stop.signal);
    await publish(topics, "1", "2", "3");
    await (await events.next()).ack();
    await (await events.next()).drop();
    await events.next();
    stop.abort();
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

  on("delivery.retry() waits for its delay, and holds nothing else up", async ({ topics }, { shortMs }) => {
    const events = consumer(topics);
    await publish(topics, "1", "2", "3");
    const first = await events.next();
    const retriedMs = Date.now();
    await first.retry(shortMs);
    equal(await acknowledgeNext(events, 2), ["2#1", "3#1"]);
    equal(await acknowledgeNext(events, 1), ["1#2"]);
    const waitedMs = Date.now() - retriedMs;
    ok(waitedMs >= shortMs - 2 && waitedMs < shortMs + LATE_MS, `it came again after ${waitedMs} ms`);
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

export function repeatedAnswerCases(on: DeclareEngineCase): void {
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
    const stop = new AbortController();
    const events = consumer(topics, "g", stop.signal);
    await publish(topics, "1", "2");
    const [acks, retries] = [await events.next(), await events.next()];
    stop.abort();
    await acks.ack();
    await retries.retry(0);
    const again = consumer(topics);
    equal(await acknowledgeNext(again, 2), ["1#2", "2#2"]);
    await again.quiet();
  });
}
