import assert from "node:assert/strict";
import { Code, ConnectError, createRouterTransport, type Transport } from "@connectrpc/connect";
import * as fc from "fast-check";
import { test, vi } from "vitest";
import { z } from "zod";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { bytes, json, SchemaError, text } from "../../src/client/codec.js";
import { createPubsub, type Message, type SubscribeOptions } from "../../src/client/pubsub.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import { sleep } from "../../src/rpc/sleep.js";
import { silent } from "../../src/server/context.js";
import type { TopicStore } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { openCuttableProxy } from "../support/cuttable-proxy.js";
import { forEachProtocol, openInProcess, overHttp } from "../support/protocols.js";

/** Delivers again at once, and gives up soon. */
const quick = { pubsub: { default: { retryMinMs: 1, retryMaxMs: 8, maxDeliveries: 3 } } };

const pubsubOf = (transport: Transport) => createPubsub(transport, "default");

/** A subscription that stands, read step by step. Closing it answers the last event: handled. */
async function consume<T = unknown>(transport: Transport, topic: string, options: SubscribeOptions = {}) {
  const leaving = new AbortController();
  let stands = () => {};
  const standing = new Promise<void>((resolve) => {
    stands = resolve;
  });
  const onOpen = () => {
    options.onOpen?.();
    stands();
  };
  const signal = leaving.signal;
  const events = pubsubOf(transport).subscribe<T>(topic, { ...options, onOpen, signal });
  const iterator = events[Symbol.asyncIterator]();
  let ahead: Promise<IteratorResult<Message<T>>> | undefined = iterator.next();
  await Promise.race([standing, ahead]);
  const next = async (): Promise<Message<T>> => {
    const step = ahead ?? iterator.next();
    ahead = undefined;
    const { value, done } = await step;
    assert.ok(!done, "the subscription ended");
    return value;
  };
  /** The data of the next `count` events, each of them acknowledged. */
  const take = async (count: number): Promise<T[]> => {
    const taken: T[] = [];
    for (let i = 0; i < count; i++) {
      const message = await next();
      taken.push(message.data);
      message.ack();
    }
    return taken;
  };
  const stop = () => leaving.abort();
  const leave = async () => {
    stop();
    const error = await next().catch((error: unknown) => error);
    assert.equal((error as ConnectError).code, Code.Canceled);
  };
  return { next, take, stop, leave };
}

forEachProtocol("duplex", (open) => {
  test("subscribe() receives what publish() sends, in order and byte for byte", async () => {
    await using at = await open();
    const consumer = await consume(at.transport, "orders");
    const pubsub = pubsubOf(at.transport);
    await pubsub.publish("orders", { id: 1, note: "ключ 🔑" }, { metadata: { tenant: "a" } });
    await pubsub.publish("orders", "text");
    await pubsub.publish("orders", Uint8Array.of(0, 255, 128));
    await pubsub.publish("orders", "0.12345678901234567890", { contentType: "application/json" });
    const first = await consumer.next();
    assert.deepEqual(first.data, { id: 1, note: "ключ 🔑" });
    assert.equal(first.contentType, "application/json");
    assert.equal(first.metadata["tenant"], "a");
    assert.ok(Math.abs(Date.now() - Number(first.publishedAt)) < 10_000);
    assert.deepEqual(await consumer.take(2), ["text", Uint8Array.of(0, 255, 128)]);
    assert.equal(fromUtf8((await consumer.next()).bytes), "0.12345678901234567890");
    await consumer.leave();
  });

  test("leaving the loop gives the last event back, unless it was acknowledged", async () => {
    await using at = await open({ config: quick });
    const pubsub = pubsubOf(at.transport);
    const numbers = (onOpen?: () => void) => pubsub.subscribe<number>("n", { ...(onOpen && { onOpen }) });
    const publish = () => {
      void [1, 2, 3].reduce((before, n) => before.then(() => pubsub.publish("n", n)), Promise.resolve());
    };
    for await (const { data } of numbers(publish)) if (data === 2) break;
    const again: number[] = [];
    for await (const message of numbers()) {
      again.push(message.data);
      message.ack();
      if (again.length === 2) break;
    }
    assert.deepEqual(again.sort(), [2, 3]);
    await pubsub.publish("n", 4);
    for await (const { data } of numbers()) {
      assert.equal(data, 4);
      break;
    }
  });

  test("aborting the signal ends a loop that waits, and frees the server", async () => {
    await using at = await open();
    const idle = await consume(at.transport, "t");
    await idle.leave();
    const other = await consume<number>(at.transport, "t");
    for (let n = 0; n < 10; n++) await pubsubOf(at.transport).publish("t", n);
    assert.deepEqual(await other.take(10), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    await other.leave();
  });
});

test("consumers of a group share its events, and every group receives all of them", async () => {
  await using at = await openInProcess();
  const seen: Record<string, number[]> = { a: [], b: [], c: [] };
  const [a, b, c] = [
    await consume<number>(at.transport, "t", { group: "one", maxInFlight: 1 }),
    await consume<number>(at.transport, "t", { group: "one", maxInFlight: 1 }),
    await consume<number>(at.transport, "t", { group: "two" }),
  ];
  await Promise.all(Array.from({ length: 40 }, (_, n) => pubsubOf(at.transport).publish("t", n)));
  const read = async (consumer: typeof a, into: number[] | undefined) => {
    for (;;) {
      const message = await consumer.next().catch(() => undefined);
      if (!message) return;
      into?.push(message.data);
    }
  };
  const reading = [read(a, seen["a"]), read(b, seen["b"]), read(c, seen["c"])];
  while ((seen["c"]?.length ?? 0) + (seen["a"]?.length ?? 0) + (seen["b"]?.length ?? 0) < 80) await sleep(1);
  for (const consumer of [a, b, c]) consumer.stop();
  await Promise.all(reading);
  const all = Array.from({ length: 40 }, (_, n) => n);
  const byNumber = (x: number, y: number) => x - y;
  assert.deepEqual([...(seen["a"] ?? []), ...(seen["b"] ?? [])].sort(byNumber), all);
  assert.deepEqual([...(seen["c"] ?? [])].sort(byNumber), all);
  assert.ok(seen["a"]?.length && seen["b"]?.length, "both worked");
});

test("the group is the app id of the fairlead-app-id header, else the server's own", async () => {
  await using at = await openInProcess({ config: { appId: "own" } });
  const headers = { "fairlead-app-id": "billing" };
  const [mine, named, own] = [
    await consume<number>(at.transport, "t", { headers }),
    await consume<number>(at.transport, "t", { group: "billing" }),
    await consume<number>(at.transport, "t", { group: "own" }),
  ];
  const byDefault = await consume<number>(at.transport, "t");
  for (const n of [1, 2]) await pubsubOf(at.transport).publish("t", n);
  const both = await Promise.all([mine, named].map((consumer) => consumer.take(1)));
  assert.deepEqual(both.flat().sort(), [1, 2]);
  const rest = await Promise.all([own, byDefault].map((consumer) => consumer.take(1)));
  assert.deepEqual(rest.flat().sort(), [1, 2]);
  for (const consumer of [mine, named, own, byDefault]) await consumer.leave();
});

test("events wait for a group whose consumers are all gone", async () => {
  await using at = await openInProcess();
  await (await consume(at.transport, "t")).leave();
  for (const n of [1, 2, 3]) await pubsubOf(at.transport).publish("t", n);
  const back = await consume<number>(at.transport, "t");
  assert.deepEqual(await back.take(3), [1, 2, 3]);
  await back.leave();
});

test("retry() brings the event again, each time after a longer wait", async () => {
  const config = { pubsub: { default: { retryMinMs: 20, retryMaxMs: 50, maxDeliveries: 16 } } };
  await using at = await openInProcess({ config });
  const consumer = await consume(at.transport, "t");
  await pubsubOf(at.transport).publish("t", "x");
  const times: number[] = [];
  let id = "";
  for (let i = 0; i < 4; i++) {
    const message = await consumer.next();
    assert.equal(message.id, (id ||= message.id));
    times.push(performance.now());
    if (i < 3) message.retry();
  }
  const waits = times.slice(1).map((time, i) => Math.round(time - (times[i] ?? 0)));
  // Never before its time: a timer may be a millisecond early.
  for (const [i, least] of [19, 39, 49].entries()) assert.ok((waits[i] ?? 0) >= least, `${waits}`);
  await consumer.leave();
});

test("a throw in the loop brings the event again, and after the last delivery it goes to the dead letter topic", async () => {
  await using at = await openInProcess({ config: quick });
  const dead = await consume(at.transport, "dead");
  const pubsub = pubsubOf(at.transport);
  let tries = 0;
  const work = async (onOpen?: () => void) => {
    for await (const message of pubsub.subscribe("t", {
      group: "g",
      deadLetterTopic: "dead",
      ...(onOpen && { onOpen }),
    })) {
      tries++;
      throw new Error(`cannot handle ${message.data}`);
    }
  };
  await assert.rejects(
    work(() => void pubsub.publish("t", "poison", { metadata: { tenant: "a" } })),
    /cannot handle poison/,
  );
  await assert.rejects(work(), /cannot handle/);
  await assert.rejects(work(), /cannot handle/);
  const letter = await dead.next();
  assert.equal(tries, 3);
  assert.equal(letter.data, "poison");
  assert.equal(letter.topic, "dead");
  const { deadLetterReason, deadLetterFrom, deadLetterGroup, deliveries, tenant } = letter.metadata;
  assert.deepEqual([deadLetterFrom, deadLetterGroup, deliveries, tenant], ["t", "g", "3", "a"]);
  assert.match(deadLetterReason ?? "", /asked for another delivery/);
  await dead.leave();
});

test("an event whose consumers go away without an answer is not dropped for that", async () => {
  await using at = await openInProcess({ config: quick });
  await (await consume(at.transport, "t")).leave();
  const pubsub = pubsubOf(at.transport);
  for (const n of [1, 2, 3]) await pubsub.publish("t", n);
  // Each of these gets all three, and answers none.
  for (let i = 0; i < 6; i++) {
    let events = 0;
    for await (const _ of pubsub.subscribe("t", { manual: true })) if (++events === 3) break;
  }
  const patient = await consume<number>(at.transport, "t");
  assert.deepEqual(await patient.take(3), [1, 2, 3]);
  await patient.leave();
});

test("an event that its consumers never settle goes to the dead letter topic where one is set", async () => {
  await using at = await openInProcess({ config: quick });
  const dead = await consume(at.transport, "dead");
  await (await consume(at.transport, "t")).leave();
  const pubsub = pubsubOf(at.transport);
  await pubsub.publish("t", "crash");
  const options = { manual: true, deadLetterTopic: "dead" };
  for (let i = 0; i < 3; i++) for await (const _ of pubsub.subscribe("t", options)) break;
  const last = await consume(at.transport, "t", options);
  const letter = await dead.next();
  assert.equal(letter.data, "crash");
  assert.match(letter.metadata["deadLetterReason"] ?? "", /3 times, and then never settled/);
  for (const consumer of [last, dead]) await consumer.leave();
});

test("drop() ends the event with a warning, and so does the last retry() without a dead letter topic", async () => {
  const warned: [string, unknown][] = [];
  const log = {
    ...silent,
    warn: (fields: object, text: string) => void warned.push([text, fields]),
  };
  await using at = await openInProcess({ config: quick, log });
  const consumer = await consume(at.transport, "t");
  const pubsub = pubsubOf(at.transport);
  await pubsub.publish("t", "dropped");
  (await consumer.next()).drop();
  await pubsub.publish("t", "retried");
  for (let i = 0; i < 3; i++) {
    const message = await consumer.next();
    assert.equal(message.data, "retried");
    message.retry();
  }
  await pubsub.publish("t", "after");
  assert.equal((await consumer.next()).data, "after");
  assert.deepEqual(
    warned.map(([text]) => text),
    [
      "a consumer dropped an event",
      "an event is dropped after its last delivery: no dead letter topic is set",
    ],
  );
  await consumer.leave();
});

test("only the first answer to an event counts", async () => {
  await using at = await openInProcess({ config: quick });
  const consumer = await consume(at.transport, "t");
  const pubsub = pubsubOf(at.transport);
  await pubsub.publish("t", 1);
  const message = await consumer.next();
  message.ack();
  message.retry();
  message.drop();
  await pubsub.publish("t", 2);
  assert.equal((await consumer.next()).data, 2);
  await consumer.leave();
});

test("with `manual`, events are answered in any order while more of them come", async () => {
  await using at = await openInProcess({ config: quick });
  const consumer = await consume<number>(at.transport, "t", { manual: true, maxInFlight: 3 });
  const pubsub = pubsubOf(at.transport);
  for (const n of [1, 2, 3, 4]) await pubsub.publish("t", n);
  const held = [await consumer.next(), await consumer.next(), await consumer.next()];
  const fourth = consumer.next();
  assert.equal(await Promise.race([fourth, sleep(20).then(() => "none")]), "none");
  held[2]?.ack();
  assert.equal((await fourth).data, 4);
  held[0]?.retry();
  assert.equal((await consumer.next()).data, 1);
  await consumer.leave();
});

test("abort while the body of the loop is at work lets it finish: its event is answered", async () => {
  await using at = await openInProcess({ config: quick });
  const pubsub = pubsubOf(at.transport);
  const stop = new AbortController();
  const publish = () => void pubsub.publish("t", 1).then(() => pubsub.publish("t", 2));
  const seen: unknown[] = [];
  const working = (async () => {
    for await (const { data } of pubsub.subscribe("t", { signal: stop.signal, onOpen: publish })) {
      stop.abort();
      await sleep(5);
      seen.push(data);
    }
  })();
  await assert.rejects(working, { code: Code.Canceled });
  const next = await consume(at.transport, "t");
  assert.deepEqual([...seen, ...(await next.take(1))], [1, 2]);
  await next.leave();
});

test("aborted before it begins, a loop throws without a call", async () => {
  const transport = createRouterTransport(() => {});
  const loop = async () => {
    for await (const _ of pubsubOf(transport).subscribe("t", { signal: AbortSignal.abort() }));
  };
  await assert.rejects(loop(), { code: Code.Canceled });
});

test("a deadline of the caller's own ends the subscription", async () => {
  await using at = await openInProcess();
  const loop = async () => {
    for await (const _ of pubsubOf(at.transport).subscribe("t", { timeoutMs: 20 }));
  };
  await assert.rejects(loop(), { code: Code.DeadlineExceeded });
});

test("data that cannot be decoded throws where it is asked for, so that the event ends as a dead letter", async () => {
  await using at = await openInProcess({ config: quick });
  const dead = await consume(at.transport, "dead");
  const pubsub = pubsubOf(at.transport);
  const schema = z.object({ n: z.number() });
  const publish = () => void pubsub.publish("t", { n: "seven" });
  const work = async (onOpen: () => void) => {
    for await (const { data } of pubsub.subscribe("t", { schema, deadLetterTopic: "dead", onOpen })) {
      assert.fail(`got ${data.n}`);
    }
  };
  const isUnreadable = (error: ConnectError) =>
    error.code === Code.DataLoss && error.cause instanceof SchemaError;
  await assert.rejects(work(publish), isUnreadable);
  for (let i = 1; i < 3; i++)
    await assert.rejects(
      work(() => {}),
      isUnreadable,
    );
  const letter = await dead.next();
  assert.deepEqual(letter.data, { n: "seven" });
  await dead.leave();
});

test("publish() encodes by codec or schema, and refuses what has no JSON form before it calls", async () => {
  await using at = await openInProcess();
  const consumer = await consume(at.transport, "t");
  const pubsub = pubsubOf(at.transport);
  const schema = z.object({ n: z.number() });
  await pubsub.publish("t", { n: 1 }, { schema });
  await assert.rejects(pubsub.publish("t", { n: "1" } as never, { schema }), SchemaError);
  await pubsub.publish("t", "x", { codec: json() });
  await pubsub.publish("t", new Uint16Array([1]).buffer);
  await pubsub.publish("t", new DataView(new ArrayBuffer(8), 2, 1));
  const sent: [string, string][] = [];
  for (let i = 0; i < 4; i++) {
    const { contentType, bytes } = await consumer.next();
    sent.push([contentType, Buffer.from(bytes).toString("latin1")]);
  }
  const binary = "application/octet-stream";
  assert.deepEqual(sent, [
    ["application/json", '{"n":1}'],
    ["application/json", '"x"'],
    [binary, "\u0001\0"],
    [binary, "\0"],
  ]);
  await assert.rejects(pubsub.publish("t", undefined), TypeError);
  await assert.rejects(pubsub.publish("t", 1n), TypeError);
  await assert.rejects(pubsub.publish("t", 1, { ttlMs: 0 }), RangeError);
  assert.throws(() => pubsub.subscribe("t", { maxInFlight: 0 }), RangeError);
  await consumer.leave();
});

test("publish() with ttlMs: the event is gone once that is over, rounded up to seconds", async () => {
  // The faked clock is the engine's only one.
  await using at = await openInProcess({ engine: memoryEngine({ now: () => Date.now() }) });
  await (await consume(at.transport, "t")).leave();
  const pubsub = pubsubOf(at.transport);
  await pubsub.publish("t", "short", { ttlMs: 1001 });
  await pubsub.publish("t", "long", { ttlMs: 60_000 });
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 1500 });
  try {
    const before = await consume(at.transport, "t", { manual: true });
    assert.equal((await before.next()).data, "short");
    await before.leave();
    vi.setSystemTime(Date.now() + 600);
    const consumer = await consume(at.transport, "t");
    assert.deepEqual(await consumer.take(1), ["long"]);
    await consumer.leave();
  } finally {
    vi.useRealTimers();
  }
});

test("any bytes with any media type arrive as they were sent", async () => {
  await using at = await openInProcess();
  const consumer = await consume(at.transport, "t");
  const mediaType = fc.constantFrom(
    "image/png",
    "application/json",
    "text/plain",
    "application/x-unknown; q=1",
  );
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), mediaType, async (data, contentType) => {
      await pubsubOf(at.transport).publish("t", data, { codec: bytes(), contentType });
      const message = await consumer.next();
      assert.deepEqual(message.bytes, data);
      assert.equal(message.contentType, contentType);
    }),
    { numRuns: 100 },
  );
  await consumer.leave();
});

test("JSON data of a CloudEvent keeps its text to the letter", async () => {
  await using at = await openInProcess();
  const consumer = await consume(at.transport, "t");
  const space = fc.constantFrom("", " ", "\n\t", "\r\n  ");
  const attribute = fc.record({ name: fc.stringMatching(/^x[a-z0-9]{0,8}$/), value: fc.json() });
  await fc.assert(
    fc.asyncProperty(fc.json(), space, fc.array(attribute, { maxLength: 3 }), async (value, ws, others) => {
      const tokens = value.replace(/^/, ws);
      const members = others.map(({ name, value }) => `${JSON.stringify(name)}:${ws}${value}`);
      members.push('"specversion":"1.0"');
      members.splice(1, 0, `${ws}"data"${ws}:${tokens}${ws}`);
      await pubsubOf(at.transport).publish("t", `${ws}{${members.join(`${ws},${ws}`)}${ws}}${ws}`, {
        contentType: "application/cloudevents+json",
      });
      assert.equal(fromUtf8((await consumer.next()).bytes), value);
    }),
    { numRuns: 100 },
  );
  await consumer.leave();
});

test("many publishers at once: every event arrives once, those of each in order", async () => {
  await using at = await openInProcess();
  const consumer = await consume<[number, number]>(at.transport, "t", { maxInFlight: 32 });
  const pubsub = pubsubOf(at.transport);
  const publish = async (who: number) => {
    for (let n = 0; n < 8; n++) await pubsub.publish("t", [who, n]);
  };
  await Promise.all(Array.from({ length: 64 }, (_, who) => publish(who)));
  const seen = await consumer.take(64 * 8);
  const next = new Map<number, number>();
  for (const [who, n] of seen) {
    assert.equal(n, next.get(who) ?? 0);
    next.set(who, n + 1);
  }
  await consumer.leave();
});

test("a backlog that is full refuses the publisher, and takes on again once it is worked off", async () => {
  await using at = await openInProcess({ engine: memoryEngine({ maxBacklogBytes: 4000 }) });
  const pubsub = pubsubOf(at.transport);
  await (await consume(at.transport, "t")).leave();
  const fill = async () => {
    for (;;) await pubsub.publish("t", "x".repeat(500));
  };
  const error = await fill().catch((error: unknown) => error);
  assert.equal((error as ConnectError).code, Code.ResourceExhausted);
  assert.match((error as ConnectError).rawMessage, /maxBacklogBytes 4000/);
  const consumer = await consume(at.transport, "t");
  await consumer.take(4);
  await consumer.leave();
  await pubsub.publish("t", "again");
});

test("a slow reader is sent no more than the server's inFlight, whatever it asks for", async () => {
  const engine = memoryEngine();
  let claimed = 0;
  const topics: TopicStore = {
    publish: (...args) => engine.topics.publish(...args),
    createGroup: (...args) => engine.topics.createGroup(...args),
    hasWaiting: (...args) => engine.topics.hasWaiting(...args),
    async *consume(...args) {
      for await (const delivery of engine.topics.consume(...args)) {
        claimed++;
        yield delivery;
      }
    },
  };
  await using at = await openInProcess({
    engine: { ...engine, topics },
    config: { limits: { inFlight: 4 } },
  });
  const slow = await consume<number>(at.transport, "t", { manual: true, maxInFlight: 1000 });
  for (let n = 0; n < 20; n++) await pubsubOf(at.transport).publish("t", n);
  const held = [await slow.next(), await slow.next(), await slow.next(), await slow.next()];
  await sleep(10);
  assert.equal(claimed, 4);
  for (const message of held) message.ack();
  for (let i = 0; i < 4; i++) await slow.next();
  await sleep(10);
  assert.equal(claimed, 8);
  await slow.leave();
});

test("a lost connection is made anew, and what was not answered comes again", async () => {
  await using at = await openInProcess({ config: quick });
  let lose = () => {};
  let calls = 0;
  const flaky: Transport = {
    unary: at.transport.unary,
    async stream(method, signal, ...rest) {
      calls++;
      const cut = new AbortController();
      lose = () => cut.abort(new ConnectError("socket hang up", Code.Unavailable));
      return at.transport.stream(method, AbortSignal.any([cut.signal, ...(signal ? [signal] : [])]), ...rest);
    },
  };
  let opened = 0;
  const consumer = await consume(flaky, "t", { onOpen: () => opened++ });
  const pubsub = pubsubOf(at.transport);
  await pubsub.publish("t", 1);
  const before = await consumer.next();
  lose();
  await sleep(1);
  before.ack();
  const again = await consumer.next();
  assert.equal(again.id, before.id);
  again.ack();
  await pubsub.publish("t", 2);
  assert.equal((await consumer.next()).data, 2);
  assert.deepEqual([calls, opened], [2, 2]);
  await consumer.leave();
});

test("a socket that breaks costs no event, over HTTP/2 and gRPC", async () => {
  for (const protocol of ["connect", "grpc"] as const) {
    await using at = await overHttp((url) => createNodeTransport(url))({ config: quick });
    await using way = await openCuttableProxy(Number(new URL(at.url).port));
    await using transport = createNodeTransport(way.url, { protocol });
    const consumer = await consume<number>(transport, "t");
    const pubsub = pubsubOf(at.transport);
    const seen: number[] = [];
    for (let n = 0; n < 9; n++) {
      await pubsub.publish("t", n);
      if (n % 3 === 1) way.cut();
      while (!seen.includes(n)) seen.push((await consumer.next()).data);
    }
    assert.deepEqual([...new Set(seen)].sort(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    await consumer.leave();
  }
});

test("a server that closes ends a subscription as unavailable, which the loop survives until it is aborted", async () => {
  const at = await openInProcess();
  const codes: unknown[] = [];
  const watched: Transport = {
    unary: at.transport.unary,
    async stream(...args) {
      const response = await at.transport.stream(...args);
      const message = (async function* () {
        try {
          yield* response.message;
        } catch (error) {
          codes.push((error as ConnectError).code);
          throw error;
        }
      })();
      return { ...response, message: message as never };
    },
  };
  const consumer = await consume(watched, "t");
  await at.server.close();
  await sleep(5);
  assert.equal(codes[0], Code.Unavailable);
  await consumer.leave();
});

test("the Go runtime's manner: no confirmation of the half-close but an error, no metadata, a second stream refused", async () => {
  let streams = 0;
  const answers: unknown[] = [];
  const transport = createRouterTransport((router) => {
    router.service(Runtime, {
      async *subscribeTopicEvents(requests) {
        if (++streams > 1) throw new ConnectError("already subscribed to topic t", Code.Unknown);
        const event = { id: "1", topic: "t", data: utf8("x"), dataContentType: "text/plain" };
        for await (const { subscribeTopicEventsRequestType: request } of requests) {
          if (request.case === "initialRequest") {
            yield { subscribeTopicEventsResponseType: { case: "initialResponse", value: {} } };
            yield { subscribeTopicEventsResponseType: { case: "eventMessage", value: event } };
          } else {
            answers.push(request.value?.status?.status);
          }
        }
        throw new ConnectError("EOF", Code.Unknown);
      },
    });
  });
  const pubsub = pubsubOf(transport);
  for await (const message of pubsub.subscribe("t", { codec: text() })) {
    assert.deepEqual([message.data, message.publishedAt, message.metadata], ["x", undefined, {}]);
    message.ack();
    break;
  }
  assert.deepEqual(answers, [0]);
  const second = async () => {
    for await (const _ of pubsub.subscribe("t"));
  };
  await assert.rejects(second(), { code: Code.Unknown });
});
