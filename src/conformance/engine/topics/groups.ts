import { fromUtf8 } from "../../../lib/utf8.js";
import { sleep } from "../../../rpc/sleep.js";
import type { DeclareEngineCase } from "../../engine.js";
import { equal, ok } from "../../expect.js";
import { collect } from "../reader.js";
import { neverAborts } from "../timing.js";
import { acknowledgeNext, consumer, formatDelivery, numbers, publish } from "./consumer.js";

export function competingConsumerCases(on: DeclareEngineCase): void {
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
    await sleep(10);
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

export function waitingConsumerCases(on: DeclareEngineCase): void {
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
    const stop = new AbortController();
    const [leaves, stays] = [consumer(topics, "g", stop.signal), consumer(topics)];
    await leaves.quiet(5);
    await stays.quiet(5);
    // The event may be on its way to the consumer that leaves.
    const published = publish(topics, "1");
    stop.abort();
    await published;
    const event = await stays.next();
    equal(fromUtf8(event.value), "1");
    await leaves.end();
  });
}

export function unansweredEventCases(on: DeclareEngineCase): void {
  on("topics.consume(): what is unanswered at the end goes back to the front", async ({ topics }) => {
    const stop = new AbortController();
    const events = consumer(topics, "g", stop.signal);
    await publish(topics, "1", "2", "3", "4");
    await acknowledgeNext(events, 1);
    await events.next();
    await events.next();
    stop.abort();
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
    const stop = new AbortController();
    const [leaves, waits] = [consumer(topics, "g", stop.signal), consumer(topics)];
    await publish(topics, "1");
    await leaves.next();
    await waits.quiet(5);
    stop.abort();
    equal(await acknowledgeNext(waits, 1), ["1#2"]);
  });

  on(
    "topics.consume(): the group outlives its consumers, and events wait for the next",
    async ({ topics }) => {
      const stop = new AbortController();
      const events = consumer(topics, "g", stop.signal);
      await publish(topics, "1");
      equal(await acknowledgeNext(events, 1), ["1#1"]);
      await events.quiet(5);
      stop.abort();
      await publish(topics, "2");
      await publish(topics, "3", "4");
      equal(await acknowledgeNext(consumer(topics), 3), ["2#1", "3#1", "4#1"]);
    },
  );

  on(
    "topics.consume(): a delayed event outlives the consumer that put it off",
    async ({ topics }, { shortMs }) => {
      const stop = new AbortController();
      const events = consumer(topics, "g", stop.signal);
      await publish(topics, "1");
      await (await events.next()).retry(shortMs);
      stop.abort();
      const again = consumer(topics);
      await again.quiet(shortMs / 4);
      equal(await acknowledgeNext(again, 1), ["1#2"]);
    },
  );
}

export function consumerEndCases(on: DeclareEngineCase): void {
  on(
    "topics.consume() ends when its signal aborts, while it waits and before it is read",
    async ({ topics }) => {
      const stop = new AbortController();
      const waits = consumer(topics, "g", stop.signal);
      const unread = topics.consume("t", "other", stop.signal);
      await waits.quiet(5);
      const end = waits.end();
      stop.abort();
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
