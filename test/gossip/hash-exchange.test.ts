import assert from "node:assert/strict";
import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, test } from "vitest";
import { type Digest, MapValueSchema, type Message, MessageSchema } from "../../gen/atomix/map/map_pb.js";
import type { Link } from "../../src/gossip/link.js";
import type { Replica } from "../../src/gossip/replica.js";
import { encodeReserved } from "../../src/gossip/reserved-key.js";
import { compareDigests } from "../../src/gossip/version.js";
import { utf8 } from "../../src/lib/utf8.js";
import { LinkPair } from "../support/link-pair.js";

const keys = (count: number) => Array.from({ length: count }, (_, i) => `user:${i}:name`);

/** The number of digests in messages, without the reserved key. */
const digestsIn = (messages: Message[]) =>
  messages.reduce((sum, { message }) => {
    if (message.case !== "antiEntropyAdvertisement") return sum;
    return sum + Object.keys(message.value.digest).filter((key) => key !== "").length;
  }, 0);

const entriesIn = (messages: Message[]) =>
  messages.flatMap(({ message }) => (message.case === "update" ? Object.keys(message.value.updates) : []));

const requestsIn = (messages: Message[]) =>
  messages.flatMap(({ message }) => (message.case === "updateRequest" ? message.value.keys : []));

const advertisement = (digest: Record<string, Digest>): Uint8Array =>
  toBinary(
    MessageSchema,
    create(MessageSchema, { source: "m", message: { case: "antiEntropyAdvertisement", value: { digest } } }),
  );

const write = ({ replica, link }: { replica: Replica; link: Link }, key: string, text: string) =>
  link.changed(replica.set(key, utf8(text)).key);

/** Compares once more: entries that were sent at the end are confirmed by that. */
function confirm(pair: LinkPair): void {
  for (const { link } of [pair.a, pair.b]) {
    link.advertise();
    pair.settle();
  }
}

/** Fails if one side does not know that the other one has all of its entries. */
function checkConfirmed({ a, b }: LinkPair): void {
  assert.deepEqual([a.link.hasAll(a.replica.revision), b.link.hasAll(b.replica.revision)], [true, true]);
}

/** The bytes of the digests of all keys, one way. */
function fullDigestBytes({ a: { replica } }: LinkPair): number {
  const pair = new LinkPair({ a: { hashes: false } });
  for (const key of replica.keys()) pair.a.replica.apply(key, replica.get(key) ?? assert.fail());
  pair.a.link.advertise();
  pair.send();
  return pair.bytes;
}

describe("an exchange of hashes", () => {
  test.each([0, 1, 16, 17, 1000, 5000])(
    "of equal copies of %i keys confirms all by two short messages",
    (count) => {
      const pair = new LinkPair();
      pair.share(keys(count));
      pair.reopen();
      pair.settle();
      const { a, b } = pair;
      assert.deepEqual([a.link.caughtUp, b.link.caughtUp], [true, true]);
      assert.deepEqual([a.link.hasAll(a.replica.revision), b.link.hasAll(b.replica.revision)], [true, true]);
      pair.messages.length = pair.bytes = 0;
      a.link.advertise();
      pair.settle();
      assert.equal(pair.messages.length, 2);
      assert.ok(pair.bytes < 220, `${pair.bytes} bytes`);
    },
  );

  test("finds one key among 100,000 for less than 1 % of a full digest", () => {
    const pair = new LinkPair();
    pair.share(keys(100_000));
    pair.b.replica.set("user:5:name", utf8("changed"));
    pair.reopen();
    pair.settle();
    assert.equal(pair.isEqual, true);
    assert.deepEqual(entriesIn(pair.messages), ["user:5:name"]);
    const full = fullDigestBytes(pair);
    assert.ok(pair.bytes < full / 100, `${pair.bytes} bytes, a full digest has ${full}`);
    confirm(pair);
    checkConfirmed(pair);
  }, 60_000);

  test.each([0, 3, 40, 1000, 3000])("sends what differs once, with %i equal keys", (count) => {
    const pair = new LinkPair();
    pair.share(keys(count));
    const { a, b } = pair;
    const news = count === 0 ? [] : ["user:0:name", "user:1:name", "user:2:name"];
    if (count > 0) {
      a.replica.set("user:0:name", utf8("newer"));
      b.replica.set("user:1:name", utf8("newer"));
      b.replica.delete(["user:2:name"]);
    }
    a.replica.set("only a", utf8("v"));
    b.replica.set("only b", utf8("v"));
    pair.reopen();
    pair.settle();
    assert.equal(pair.isEqual, true);
    assert.deepEqual(entriesIn(pair.messages).sort(), [...news, "only a", "only b"].sort());
    confirm(pair);
    checkConfirmed(pair);
  });

  test("fills an empty replica without a digest or a request", () => {
    const pair = new LinkPair();
    for (const key of keys(3000)) pair.b.replica.set(key, utf8("v"));
    pair.reopen();
    pair.settle();
    assert.equal(pair.isEqual, true);
    assert.deepEqual([digestsIn(pair.messages), requestsIn(pair.messages)], [0, []]);
    assert.equal(entriesIn(pair.messages).length, 3000);
    assert.equal(pair.a.link.caughtUp, true);
  });

  test("fills a peer that has lost everything without a digest or a request", () => {
    const pair = new LinkPair();
    for (const key of keys(3000)) pair.a.replica.set(key, utf8("v"));
    pair.reopen();
    pair.settle();
    assert.equal(pair.isEqual, true);
    assert.deepEqual([digestsIn(pair.messages), requestsIn(pair.messages)], [0, []]);
    assert.equal(pair.b.link.hasAll(pair.b.replica.revision), true);
  });

  test("compares a small replica with a large one by the digests of the small one", () => {
    const pair = new LinkPair();
    pair.share(keys(5));
    for (const key of keys(3000)) if (!pair.b.replica.get(key)) pair.b.replica.set(key, utf8("v"));
    pair.reopen();
    pair.settle();
    assert.equal(pair.isEqual, true);
    assert.equal(digestsIn(pair.messages), 5);
    assert.equal(entriesIn(pair.messages).length, 2995);
  });

  test("keeps to 1000 keys and 1 MiB in each message", () => {
    const pair = new LinkPair();
    for (let i = 0; i < 2500; i++) {
      pair.a.replica.set(`${i}`.padEnd(1024, "x"), utf8("v"));
      pair.b.replica.set(`${i}`.padEnd(1024, "y"), utf8("v"));
    }
    pair.reopen();
    pair.settle();
    assert.equal(pair.isEqual, true);
    const longest = Math.max(...pair.messages.map((message) => toBinary(MessageSchema, message).length));
    assert.ok(longest <= 1024 ** 2, `${longest} bytes`);
    const most = Math.max(
      ...pair.messages.map((message) => Math.max(digestsIn([message]), entriesIn([message]).length)),
    );
    assert.ok(most <= 1000, `${most} keys`);
  });

  test("sends only what differs if a round has several parts", () => {
    const pair = new LinkPair({ a: { chunkKeys: 10 }, b: { chunkKeys: 10 } });
    pair.share(keys(1000));
    for (const key of keys(1000).filter((_, i) => i % 5 === 0)) pair.b.replica.set(key, utf8("newer"));
    pair.reopen();
    pair.settle();
    assert.equal(pair.isEqual, true);
    assert.equal(entriesIn(pair.messages).length, 200);
  });

  test("does not confirm what has changed after the hashes that the peer found equal", () => {
    const pair = new LinkPair();
    const { a, b } = pair;
    pair.share(keys(3000));
    pair.reopen();
    pair.settle();
    a.replica.set("user:1:name", utf8("differs"));
    a.link.advertise();
    pair.step(a, b);
    const groupOf = (key: string) => b.replica.fingerprints.bucketOf(key) >> 6;
    const [before, after] = keys(3000).filter((key) => groupOf(key) !== groupOf("user:1:name"));
    assert.ok(before && after);
    write(b, before, "changed before the hashes of groups are sent, and sent after them");
    pair.step(b, a);
    write(b, after, "changed");
    pair.step(a, b);
    assert.deepEqual([b.link.has(before), b.link.has(after)], [false, false]);
    pair.settle();
    confirm(pair);
    checkConfirmed(pair);
  });

  test("ends although both sides change keys before each message", () => {
    const pair = new LinkPair();
    const { a, b } = pair;
    const all = keys(4000);
    pair.share(all);
    a.replica.set("user:1:name", utf8("differs"));
    pair.reopen();
    const { revision } = a.replica;
    let steps = 0;
    for (; !a.link.hasAll(revision) || b.link.rounds === 0; steps++) {
      assert.ok(steps < 200, "it does not end");
      write(a, all[(steps * 37) % all.length] as string, `a${steps}`);
      write(b, all[(steps * 53) % all.length] as string, `b${steps}`);
      pair.step(a, b);
      pair.step(b, a);
      if (steps % 10 === 0) a.link.advertise();
    }
    pair.settle();
    a.link.advertise();
    pair.settle();
    assert.equal(pair.isEqual, true);
  });

  test("goes on from a break at every message", () => {
    const differ = (pair: LinkPair) => {
      pair.share(keys(2500));
      for (let i = 0; i < 30; i++) pair.a.replica.set(`a${i % 7} user:${i}`, utf8("a"));
      for (let i = 0; i < 30; i++) pair.b.replica.set(`user:${i * 20}:name`, utf8("b"));
      pair.reopen();
    };
    const whole = new LinkPair();
    differ(whole);
    const steps = 2 * whole.settle();
    assert.ok(steps > 6, `${steps}`);
    for (let breakAt = 0; breakAt < steps; breakAt++) {
      const pair = new LinkPair();
      differ(pair);
      for (let i = 0; i < breakAt; i++) i % 2 ? pair.step(pair.b, pair.a) : pair.step(pair.a, pair.b);
      pair.reopen();
      pair.settle();
      assert.equal(pair.isEqual, true, `after a break at message ${breakAt}`);
      confirm(pair);
      checkConfirmed(pair);
    }
  }, 60_000);

  test("by both sides at the same time ends on both", () => {
    const pair = new LinkPair();
    pair.share(keys(3000));
    pair.reopen();
    pair.settle();
    pair.a.replica.set("only a", utf8("v"));
    pair.b.replica.set("only b", utf8("v"));
    pair.a.link.advertise();
    pair.b.link.advertise();
    pair.send();
    assert.ok(pair.settle() < 20);
    assert.equal(pair.isEqual, true);
    confirm(pair);
    pair.clock.ms += 1000;
    for (const { link } of [pair.a, pair.b]) assert.equal(link.isStale(pair.clock.ms, 1000, 30_000), false);
  });

  test("finds different values with one timestamp", () => {
    const pair = new LinkPair();
    pair.share(keys(100));
    const timestamp = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 5);
    for (const [side, value] of [
      [pair.a, "x"],
      [pair.b, "y"],
    ] as const) {
      side.replica.apply("k", create(MapValueSchema, { digest: { timestamp }, value: utf8(value) }));
    }
    pair.reopen();
    pair.settle();
    assert.equal(pair.isEqual, true);
    assert.deepEqual(pair.a.replica.get("k")?.value, utf8("y"));
  });

  test("keeps one pending message for each side's exchange, however many the peer starts", () => {
    const pair = new LinkPair();
    pair.share(keys(3000));
    pair.reopen();
    pair.settle();
    pair.messages.length = 0;
    for (let i = 0; i < 1000; i++) {
      const words = Int32Array.of(i, i);
      const hashes = { exchange: i % 128, isStarter: true, level: "root" as const, groups: [], words };
      pair.deliver(advertisement({ "": encodeReserved({ hashes }) }), pair.b);
    }
    pair.send();
    assert.equal(pair.messages.length, 1);
  });
});

describe("what a link says that the peer has", () => {
  const ALL = keys(2300);
  const key = fc.oneof(fc.nat(40), fc.nat(ALL.length - 1)).map((i) => ALL[i] as string);
  const side = fc.constantFrom("a" as const, "b" as const);
  const step = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ type: fc.constantFrom("set" as const, "delete" as const), side, key }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        type: fc.constant("deliver" as const),
        side,
        count: fc.integer({ min: 1, max: 4 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ type: fc.constantFrom("advertise" as const, "confirm" as const), side }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constantFrom("break" as const) }) },
  );

  /** Fails if a side says that the other one has an entry, and that has none or an older one. */
  function checkClaims({ a, b }: LinkPair): void {
    for (const [one, two] of [
      [a, b],
      [b, a],
    ] as const) {
      for (const key of one.replica.keys()) {
        if (!one.link.has(key)) continue;
        const [own, theirs] = [one.replica.get(key), two.replica.get(key)];
        assert.ok(theirs && compareDigests(theirs.digest, own?.digest) >= 0, `${key} is not there`);
      }
    }
  }

  test.each([0, 10, 100, 2300])(
    "it has, with %i keys to begin with, whatever changes and breaks",
    (count) => {
      fc.assert(
        fc.property(
          fc.array(step, { minLength: 5, maxLength: 60 }),
          fc.integer({ min: 2, max: 40 }),
          (steps, chunkKeys) => {
            const pair = new LinkPair({ a: { chunkKeys }, b: { chunkKeys } });
            pair.share(ALL.slice(0, count));
            pair.reopen();
            for (const [i, each] of steps.entries()) {
              pair.clock.ms += 10;
              if (each.type === "break") {
                pair.reopen();
                continue;
              }
              const [from, to] = each.side === "a" ? [pair.a, pair.b] : [pair.b, pair.a];
              if (each.type === "set") write(from, each.key, `${i}`);
              else if (each.type === "delete")
                for (const { key } of from.replica.delete([each.key])) from.link.changed(key);
              else if (each.type === "deliver") for (let n = 0; n < each.count; n++) pair.step(from, to);
              else from.link[each.type]();
              checkClaims(pair);
            }
            pair.settle();
            checkClaims(pair);
            // Requested entries that were lost with a stream are requested by the next comparison.
            pair.clock.ms += 20_000;
            for (const { link } of [pair.a, pair.b]) link.advertise();
            pair.settle();
            checkClaims(pair);
            assert.equal(pair.isEqual, true);
            for (const { link, replica } of [pair.a, pair.b])
              assert.equal(link.hasAll(replica.revision), true);
          },
        ),
        { numRuns: count > 1000 ? 25 : 100 },
      );
    },
    60_000,
  );
});
