import { APP_ID_HEADER } from "../../rpc/extension-headers.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { eventText, type PubsubCalls, Status } from "./calls.js";

/** Cases of groups, answers, redelivery, expiry and dead letters. */
export function deliveryCases(on: DeclareCase<PubsubCalls>): void {
  groupCases(on);
  ackCases(on);
  redeliveryCases(on);
  eventExpiryCases(on);
  deadLetterCases(on);
}

const ONE_IN_FLIGHT = { maxInFlight: "1" };

function groupCases(on: DeclareCase<PubsubCalls>): void {
  on("delivery", "members of a group compete for its events", async (at) => {
    const [a, b] = [
      await at.subscribe({ metadata: ONE_IN_FLIGHT }),
      await at.subscribe({ metadata: ONE_IN_FLIGHT }),
    ];
    await at.publish("t", "1");
    await at.publish("t", "2");
    const events = [await a.next(), await b.next()];
    equal(events.map(eventText).sort(), ["1", "2"]);
  });

  on("delivery", "every group has all events", async (at) => {
    const streams = [await at.subscribe({ group: "g" }), await at.subscribe({ group: "h" })];
    await at.publish("t", "1");
    await at.publish("t", "2");
    for (const stream of streams) equal([await stream.text(), await stream.text()], ["1", "2"]);
  });

  on("delivery", "without consumerGroup the app id is the group", async (at) => {
    const app = (name: string) => ({ group: "", headers: { [APP_ID_HEADER]: at.own(name) } });
    const [a, other] = [await at.subscribe(app("a")), await at.subscribe(app("b"))];
    const named = await at.subscribe({ group: "a", metadata: ONE_IN_FLIGHT });
    await at.publish("t", "1");
    equal(await other.text(), "1");
    const took = await Promise.race([a.next().then(() => "a"), named.next().then(() => "named")]);
    ok(took, "one of the group");
  });

  on("delivery", "without consumerGroup and an app id subscribers are one group", async (at) => {
    const [a, b] = [
      await at.subscribe({ group: "", metadata: ONE_IN_FLIGHT }),
      await at.subscribe({ group: "", metadata: ONE_IN_FLIGHT }),
    ];
    await at.publish("t", "1");
    await at.publish("t", "2");
    equal([eventText(await a.next()), eventText(await b.next())].sort(), ["1", "2"]);
  });

  on("delivery", "a group has the events of its own topic only", async (at) => {
    const elsewhere = await at.subscribe({ topic: "u" });
    await at.publish("t", "1");
    await elsewhere.quiet();
  });

  on("delivery", "events wait for a group that has no member at the moment", async (at) => {
    await at.begin();
    await at.publish("t", "1");
    await at.publish("t", "2");
    const stream = await at.subscribe();
    equal([await stream.text(), await stream.text()], ["1", "2"]);
  });
}

function ackCases(on: DeclareCase<PubsubCalls>): void {
  for (const [description, status] of [
    ["SUCCESS", Status.SUCCESS],
    ["an answer without a status", undefined],
  ] as const) {
    on("delivery", `${description} acks: the event does not come again`, async (at) => {
      const stream = await at.subscribe();
      await at.publish("t", "x");
      stream.answer((await stream.next()).id, status);
      stream.halfClose();
      equal(await stream.end(), undefined);
      await (await at.subscribe()).quiet();
    });
  }

  on("delivery", "DROP acks: the event does not come again", async (at) => {
    // With a quick pubsub, a DROP that was taken for RETRY is redelivered before the case ends.
    const pubsubName = at.stores.quickPubsub?.name ?? at.pubsubName;
    const stream = await at.subscribe({ pubsubName });
    await at.publish("t", "x", { pubsubName });
    await stream.text(Status.DROP);
    await at.publish("t", "y", { pubsubName });
    equal(await stream.text(), "y");
    await stream.quiet();
    stream.halfClose();
    equal(await stream.end(), undefined);
    await (await at.subscribe({ pubsubName })).quiet();
  });
}

function redeliveryCases(on: DeclareCase<PubsubCalls>): void {
  for (const [description, status] of [
    ["RETRY", Status.RETRY],
    ["a number that is not known", 99 as Status],
  ] as const) {
    on("delivery", `${description} lets the same event come again`, async (at) => {
      const stream = await at.subscribe();
      await at.publish("t", "x", { metadata: { tenant: "a" } });
      const first = await stream.next();
      stream.answer(first.id, status);
      const again = await stream.next();
      equal([again.id, eventText(again), again.metadata["tenant"]], [first.id, "x", "a"]);
    });
  }

  on("delivery", "a retry holds up no later event", async (at) => {
    const stream = await at.subscribe();
    await at.publish("t", "1");
    await at.publish("t", "2");
    equal(await stream.text(Status.RETRY), "1");
    equal(await stream.text(), "2");
    equal(await stream.text(), "1");
  });

  on(
    ["delivery", "quick pubsub"],
    "redelivery waits, and waits longer each time up to a bound",
    async (at) => {
      const quick = at.stores.quickPubsub;
      ok(quick, "there is one");
      const { name: pubsubName, retryMinMs, retryMaxMs, maxDeliveries } = quick;
      const stream = await at.subscribe({ pubsubName });
      await at.publish("t", "x", { pubsubName });
      const times: number[] = [];
      for (let i = 0; i < maxDeliveries; i++) {
        const { id } = await stream.next();
        times.push(performance.now());
        stream.answer(id, Status.RETRY);
      }
      for (const [i, time] of times.slice(1).entries()) {
        const least = Math.min(retryMaxMs, retryMinMs * 2 ** i);
        const waited = time - (times[i] ?? 0);
        // Timers may fire a millisecond early.
        ok(waited >= least - 2, `wait ${i + 1} was ${waited} ms, of at least ${least}`);
      }
    },
  );
}

function eventExpiryCases(on: DeclareCase<PubsubCalls>): void {
  on("PublishEvent", "ttlInSeconds becomes the event's expiration", async (at) => {
    const stream = await at.subscribe();
    await at.publish("t", "x", { metadata: { ttlInSeconds: "60" } });
    const { metadata } = await stream.next();
    const leftMs = Date.parse(metadata["expiration"] ?? "") - Date.now();
    ok(leftMs > 30_000 && leftMs < 90_000, `${leftMs} ms are left of 60 s`);
  });

  on("PublishEvent", "ttlInSeconds of 0 or less is no expiration", async (at) => {
    const stream = await at.subscribe();
    for (const ttlInSeconds of ["0", "-1"]) {
      await at.publish("t", "x", { metadata: { ttlInSeconds } });
      equal((await stream.next()).metadata["expiration"], undefined);
    }
  });

  on("PublishEvent", "an event that expires while it waits is not delivered", async (at) => {
    await at.begin();
    const expiration = new Date(Date.now() - 60_000).toISOString();
    await at.publish("t", "expired", { metadata: { expiration } });
    await at.publish("t", "stays");
    const stream = await at.subscribe();
    equal(await stream.text(), "stays");
    await stream.quiet();
  });
}

function deadLetterCases(on: DeclareCase<PubsubCalls>): void {
  on(
    ["delivery", "quick pubsub"],
    "after maxDeliveries an event goes to dead_letter_topic, with the reason",
    async (at) => {
      const { name: pubsubName = "", maxDeliveries = 0 } = at.stores.quickPubsub ?? {};
      const dead = await at.subscribe({ pubsubName, topic: "dead" });
      const stream = await at.subscribe({ pubsubName, deadLetterTopic: "dead" });
      await at.publish("t", Uint8Array.of(0, 255), {
        pubsubName,
        dataContentType: "image/png",
        metadata: { tenant: "a" },
      });
      let id = "";
      for (let i = 0; i < maxDeliveries; i++) {
        id = (await stream.next()).id;
        stream.answer(id, Status.RETRY);
      }
      const letter = await dead.next();
      equal([letter.id, letter.topic, letter.dataContentType], [id, at.own("dead"), "image/png"]);
      equal(letter.data, Uint8Array.of(0, 255));
      const { deadLetterReason, deadLetterFrom, deadLetterGroup, deliveries, tenant } = letter.metadata;
      ok(deadLetterReason, "there is a reason");
      equal(
        [deadLetterFrom, deadLetterGroup, deliveries, tenant],
        [at.own("t"), at.own("g"), String(maxDeliveries), "a"],
      );
      await stream.quiet();
    },
  );

  on(
    ["delivery", "quick pubsub"],
    "a dead letter waits for its first subscriber, of the group that has no name",
    async (at) => {
      const { name: pubsubName = "", maxDeliveries = 0 } = at.stores.quickPubsub ?? {};
      const stream = await at.subscribe({ pubsubName, deadLetterTopic: "dead" });
      await at.publish("t", "x", { pubsubName });
      for (let i = 0; i < maxDeliveries; i++) await stream.text(Status.RETRY);
      await stream.quiet();
      const late = await at.subscribe({ pubsubName, topic: "dead", group: "" });
      equal((await late.next()).metadata["deadLetterFrom"], at.own("t"));
    },
  );

  on(
    ["delivery", "quick pubsub"],
    "after maxDeliveries without a dead_letter_topic an event is gone",
    async (at) => {
      const { name: pubsubName = "", maxDeliveries = 0 } = at.stores.quickPubsub ?? {};
      const stream = await at.subscribe({ pubsubName, deadLetterTopic: "" });
      await at.publish("t", "x", { pubsubName });
      for (let i = 0; i < maxDeliveries; i++) equal(await stream.text(Status.RETRY), "x");
      await stream.quiet();
    },
  );
}
