import assert from "node:assert/strict";
import { inspect } from "node:util";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { test } from "vitest";
import { TopicEventRequestSchema } from "../../gen/runtime/pubsub_appcallback_pb.js";
import { topicEvent } from "../../src/client/pubsub/event.js";
import {
  createLog,
  createMap,
  createPubsub,
  createState,
  json,
  text,
  type UnreadableFacts,
  unreadableFacts,
} from "../../src/index.js";
import { utf8 } from "../../src/lib/utf8.js";
import { openInProcess } from "../support/protocols.js";

const BROKEN = "{ not JSON";

/** Fails unless `read` throws `data_loss` with these bytes and this place, which its message names. */
function isUnreadable(
  read: () => unknown,
  where: Omit<UnreadableFacts, "bytes">,
  bytes = utf8(BROKEN),
): void {
  assert.throws(read, (error) => {
    assert.ok(error instanceof ConnectError);
    assert.equal(error.code, Code.DataLoss);
    for (const value of Object.values(where)) assert.ok(error.message.includes(String(value)), error.message);
    assert.ok(error.cause instanceof SyntaxError);
    assert.deepEqual({ ...unreadableFacts(error) }, { ...where, bytes });
    return true;
  });
}

test("state: get() and getMany() return a value that cannot be decoded; only reading it fails", async () => {
  await using at = await openInProcess();
  await createState(at.transport, "default", { codec: text() }).set("bad", BROKEN);
  const store = createState<number>(at.transport, "default");
  await store.set("good", 1);
  const found = await store.getMany(["good", "bad", "missing"]);
  assert.deepEqual([...found.keys()], ["good", "bad"]);
  assert.equal(found.errors.size, 0);
  assert.equal(found.get("good")?.value, 1);
  for (const entry of [found.get("bad"), await store.get("bad")]) {
    assert.deepEqual([entry?.key, typeof entry?.etag], ["bad", "string"]);
    isUnreadable(() => entry?.value, { store: "default", key: "bad" });
  }
  const { etag } = (await store.get("good")) ?? {};
  const shown = { key: "good", value: 1, etag, ttlRemainingMs: undefined };
  assert.equal(inspect(await store.get("good")), inspect(shown));
});

test("state: update() fails for such a value, unless it is to be replaced, and then compares its etag", async () => {
  await using at = await openInProcess();
  const broken = createState(at.transport, "default", { codec: text() });
  await broken.set("k", BROKEN);
  const store = createState<number>(at.transport, "default");
  await assert.rejects(
    store.update("k", () => 1),
    { code: Code.DataLoss },
  );
  assert.equal((await broken.get("k"))?.value, BROKEN);
  const seen: unknown[] = [];
  const change = async (value: number | undefined) => {
    seen.push(value);
    // Another writer is faster once; its value cannot be decoded either, and must be read first.
    if (seen.length === 1) await broken.set("k", `${BROKEN}, again`);
    return 2;
  };
  assert.equal(await store.update("k", change, { replaceUnreadable: true }), 2);
  assert.deepEqual(seen, [undefined, undefined]);
  assert.equal((await store.get("k"))?.value, 2);
  // An error of change() itself is not treated as one.
  const own = () => {
    throw new ConnectError("mine", Code.DataLoss);
  };
  await assert.rejects(store.update("k", own, { replaceUnreadable: true }), /mine/);
});

test("map: get() and remove() return the entry, and compute() replaces its value with replaceUnreadable", async () => {
  await using at = await openInProcess();
  const broken = createMap(at.transport, "seats", { codec: text() });
  const version = await broken.put("12A", BROKEN);
  const seats = createMap<number>(at.transport, "seats");
  const found = await seats.get("12A");
  assert.equal(found?.version, version);
  isUnreadable(() => found?.value, { map: "seats", key: "12A" });
  await assert.rejects(
    seats.compute("12A", () => 1),
    { code: Code.DataLoss },
  );
  const replaced = await seats.compute("12A", (seat) => seat ?? 3, { replaceUnreadable: true });
  assert.equal(replaced?.value, 3);
  await broken.put("12A", BROKEN);
  const removed = await seats.remove("12A");
  isUnreadable(() => removed?.value, { map: "seats", key: "12A" });
  assert.equal(await seats.get("12A"), undefined);
});

test("log: read() continues after a record that cannot be decoded, which has its offset", async () => {
  await using at = await openInProcess();
  await createLog(at.transport, "default", { codec: text() }).append(["1", BROKEN, "3"]);
  const seen: unknown[] = [];
  for await (const record of createLog<number>(at.transport).read({ follow: false })) {
    seen.push(record.offset);
    if (record.offset === 2n) isUnreadable(() => record.value, { log: "default", offset: 2n });
    else seen.push(record.value);
  }
  assert.deepEqual(seen, [1n, 1, 2n, 3n, 3]);
});

/** Publishes texts as JSON when the subscription is open. */
function publishing(transport: Transport, texts: readonly string[]) {
  const pubsub = createPubsub(transport, "default");
  const send = async () => {
    for (const each of texts) {
      await pubsub.publish("t", each, { codec: text(), contentType: "application/json" });
    }
  };
  return { pubsub, onOpen: () => void send() };
}

test("pubsub: an event that cannot be decoded is delivered, can be acknowledged, and does not end the loop", async () => {
  await using at = await openInProcess({
    config: { pubsub: { default: { retryMinMs: 1, maxDeliveries: 3 } } },
  });
  const { pubsub, onOpen } = publishing(at.transport, ["1", BROKEN, "2", BROKEN, "3", BROKEN, "4"]);
  const seen: unknown[] = [];
  const answers = ["ack", "drop", "retry"] as const;
  let bad = 0;
  const retried = new Set<string>();
  for await (const event of pubsub.subscribe<number>("t", { onOpen })) {
    try {
      seen.push(event.data);
    } catch (error) {
      isUnreadable(
        () => {
          throw error;
        },
        { pubsub: "default", topic: "t", id: event.id },
      );
      if (retried.has(event.id)) event.ack();
      else event[answers[bad % 3] ?? "ack"]();
      if (bad++ % 3 === 2) retried.add(event.id);
    }
    if (seen.length === 4 && bad === 4) {
      event.ack();
      break;
    }
  }
  // Only the rejected one was redelivered.
  assert.deepEqual([seen, bad], [[1, 2, 3, 4], 4]);
});

test("pubsub: a loop body that throws for such an event leaves the loop, and the event is redelivered", async () => {
  await using at = await openInProcess({
    config: { pubsub: { default: { retryMinMs: 1, maxDeliveries: 3 } } },
  });
  const { pubsub, onOpen } = publishing(at.transport, [BROKEN]);
  const work = async (onOpen: () => void) => {
    for await (const { data } of pubsub.subscribe<number>("t", { onOpen })) assert.fail(`got ${data}`);
  };
  await assert.rejects(work(onOpen), { code: Code.DataLoss });
  for await (const event of pubsub.subscribe("t")) {
    assert.equal(
      String(
        unreadableFacts(
          await Promise.resolve()
            .then(() => event.data)
            .catch((e: unknown) => e),
        )?.bytes,
      ),
      String(utf8(BROKEN)),
    );
    event.drop();
    break;
  }
});

test("pubsub: an event prints its data; without data it is undefined, and has no default content type", async () => {
  await using at = await openInProcess();
  const pubsub = createPubsub(at.transport, "default");
  const event = { id: "e", source: "/s", type: "t", specversion: "1.0" };
  const contentType = "application/cloudevents+json";
  const onOpen = async () => {
    await pubsub.publish("t", event, { contentType });
    await pubsub.publish("t", { ...event, id: "f", data: { n: 1 } }, { contentType });
  };
  const seen: unknown[] = [];
  for await (const message of pubsub.subscribe("t", { onOpen: () => void onOpen() })) {
    seen.push([message.id, message.data, message.contentType, message.bytes.length]);
    assert.match(inspect(message), message.id === "e" ? /data: undefined/ : /data: \{ n: 1 \}/);
    if (seen.length < 2) continue;
    message.ack();
    break;
  }
  assert.deepEqual(seen, [
    ["e", undefined, "", 0],
    ["f", { n: 1 }, "application/json", 7],
  ]);
});

test("pubsub: an event of an unknown CloudEvents version cannot be decoded", () => {
  const wire = { id: "e", topic: "t", pubsubName: "p", data: utf8("1"), dataContentType: "application/json" };
  for (const specVersion of ["2.0", "0.3"]) {
    const event = topicEvent(create(TopicEventRequestSchema, { ...wire, specVersion }), {});
    assert.throws(
      () => event.data,
      (error: ConnectError) => error.code === Code.DataLoss && /specversion/.test(error.message),
    );
    assert.equal(event.bytes.length, 1);
  }
  for (const specVersion of ["1.0", "1.1", ""]) {
    assert.equal(topicEvent(create(TopicEventRequestSchema, { ...wire, specVersion }), {}).data, 1);
  }
});

test("text() and json() refuse bytes that are not UTF-8", () => {
  for (const codec of [text(), json()]) {
    assert.throws(() => codec.decode(new Uint8Array([0x22, 0xff, 0x22])), TypeError);
  }
});
