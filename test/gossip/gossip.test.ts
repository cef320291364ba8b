import assert from "node:assert/strict";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, test } from "vitest";
import {
  AntiEntropyAdvertisementSchema,
  type MapValue,
  MapValueSchema,
  type Message,
  MessageSchema,
  UpdateSchema,
} from "../../gen/atomix/map/map_pb.js";
import { Changes } from "../../src/client/gossip-map/changes.js";
import { clockOf, compareTimestamps, HybridClock, wallMsOf } from "../../src/gossip/clock.js";
import { processEnvironment } from "../../src/gossip/environment.js";
import { KeyOrder } from "../../src/gossip/key-order.js";
import { Link } from "../../src/gossip/link.js";
import { Replica } from "../../src/gossip/replica.js";
import { timestampFault } from "../../src/gossip/timestamp-fault.js";
import { compareValues, isTombstone } from "../../src/gossip/version.js";
import { compareUtf8 } from "../../src/lib/compare-utf8.js";
import { utf8 } from "../../src/lib/utf8.js";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const unhex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const target = { namespace: "n", name: "m" };
const DAY_MS = 24 * 3_600_000;
const clockless = new Uint8Array();

/** A timestamp of a peer without member ids. */
function bare(clock: number | bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(clock));
  return bytes;
}

const valueAt = (timestamp: Uint8Array, value?: string): MapValue =>
  create(MapValueSchema, {
    digest: { timestamp, tombstone: value === undefined },
    ...(value !== undefined && { value: utf8(value) }),
  });

const replica = (member: string, now?: () => number) =>
  new Replica(member, {
    tombstoneMs: DAY_MS,
    ...(now && { environment: { ...processEnvironment, nowMs: now } }),
  });

const linkOf = (at: Replica, chunkKeys?: number) =>
  new Link(at, { source: "me", target, flushMs: 50, ...(chunkKeys && { chunkKeys }) });

/** A link to a peer that does not know the reserved key. */
const plainLinkOf = (at: Replica, chunkKeys = 1000) =>
  new Link(at, { source: "me", target, flushMs: 50, chunkKeys, hashes: false });

/** The pending messages of a link, due or not. */
function drain(link: Link): Message[] {
  const messages: Message[] = [];
  for (let next = link.next(Infinity); next; next = link.next(Infinity)) messages.push(next);
  return messages;
}

/** Delivers an encoded message to a link. */
function hand(at: Replica, link: Link, message: Message): void {
  const received = fromBinary(MessageSchema, toBinary(MessageSchema, message));
  for (const [key, value] of link.receive(received)) {
    const stored = at.apply(key, value);
    if (stored) link.knows(stored);
  }
}

/** Exchanges messages between two links until neither has more. Returns them. */
function talk(a: Replica, toB: Link, b: Replica, toA: Link): Message[] {
  const said: Message[] = [];
  for (let turns = 0; ; turns++) {
    assert.ok(turns < 100, "they do not stop talking");
    const [ab, ba] = [drain(toB), drain(toA)];
    for (const message of ab) hand(b, toA, message);
    for (const message of ba) hand(a, toB, message);
    said.push(...ab, ...ba);
    if (ab.length + ba.length === 0) return said;
  }
}

const entriesIn = (messages: Message[]) =>
  messages.reduce((sum, { message }) => {
    return sum + (message.case === "update" ? Object.keys(message.value.updates).length : 0);
  }, 0);

const kinds = (messages: Message[]) => messages.map(({ message }) => message.case);

const keysIn = ({ message }: Message) =>
  message.case === "antiEntropyAdvertisement" ? Object.keys(message.value.digest) : [];

/** The entries of a replica, in comparable form. */
const held = (at: Replica) =>
  Object.fromEntries(at.keys().map((key) => [key, hex(toBinary(MapValueSchema, at.get(key) as MapValue))]));

const advertisement = (digest: Record<string, Uint8Array>) =>
  create(MessageSchema, {
    source: "peer",
    target,
    message: {
      case: "antiEntropyAdvertisement",
      value: create(AntiEntropyAdvertisementSchema, {
        digest: Object.fromEntries(Object.entries(digest).map(([key, timestamp]) => [key, { timestamp }])),
      }),
    },
  });

const update = (updates: Record<string, MapValue>) =>
  create(MessageSchema, { source: "peer", target, message: { case: "update", value: { updates } } });

describe("the clock", () => {
  const at = (ms: number) => BigInt(ms) << 16n;

  test("is 8 bytes of max(wall ms << 16, last + 1), then the member id", () => {
    let now = 1_700_000_000_000;
    const clock = new HybridClock("é1", { nowMs: () => now });
    assert.equal(hex(clock.tick()), `${at(now).toString(16).padStart(16, "0")}c3a931`);
    assert.equal(clockOf(clock.tick()), at(now) + 1n);
    now -= 5000;
    assert.equal(clockOf(clock.tick()), at(now + 5000) + 2n, "a wall clock that goes back holds nothing up");
    now += 10_000;
    assert.equal(clockOf(clock.tick()), at(now));
    assert.equal(wallMsOf(clock.read()), now);
  });

  test("is ahead of everything it has observed, up to the largest value", () => {
    const clock = new HybridClock("a", { nowMs: () => 1000 });
    clock.observe(bare(at(5000)));
    assert.equal(clockOf(clock.tick()), at(5000) + 1n);
    clock.observe(new Uint8Array(3).fill(255));
    assert.equal(clockOf(clock.tick()), at(5000) + 2n);
    clock.observe(new Uint8Array(8).fill(255));
    assert.equal(clockOf(clock.tick()), 2n ** 64n - 1n);
    assert.equal(clockOf(clock.tick()), 2n ** 64n - 1n);
  });

  test("timestamps are ordered as unsigned bytes, and an empty one is zero", () => {
    const rising = [bare(0), bare(1), bare(2n ** 63n - 1n), bare(2n ** 63n), bare(2n ** 64n - 1n)];
    for (const [i, a] of rising.entries()) {
      for (const [j, b] of rising.entries())
        assert.equal(Math.sign(compareTimestamps(a, b)), Math.sign(i - j));
    }
    const own = Uint8Array.of(...bare(7), ...utf8("a"));
    assert.ok(compareTimestamps(own, bare(7)) > 0 && compareTimestamps(own, bare(8)) < 0);
    assert.equal(compareTimestamps(new Uint8Array(), bare(0)), 0);
  });

  test("timestamps of 1 to 7 bytes are malformed", () => {
    for (let length = 1; length < 8; length++) {
      assert.match(timestampFault(new Uint8Array(length)) ?? "", /at least 8 bytes/);
    }
    assert.equal(timestampFault(new Uint8Array()), undefined);
    assert.equal(timestampFault(bare(2n ** 64n - 1n)), undefined);
  });
});

describe("the order of entries", () => {
  test("is the timestamp, then a tombstone over a value, then the bytes of the value", () => {
    const rising = [
      valueAt(bare(1), "z"),
      valueAt(bare(2), "a"),
      valueAt(bare(2), "ab"),
      valueAt(bare(2), "b"),
      valueAt(bare(2)),
      valueAt(bare(3), ""),
    ];
    for (const [i, a] of rising.entries()) {
      for (const [j, b] of rising.entries()) assert.equal(Math.sign(compareValues(a, b)), Math.sign(i - j));
    }
  });
});

test("KeyOrder keeps keys in UTF-8 order after any additions and deletions", () => {
  const key = fc.string({ unit: "grapheme", maxLength: 3 });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), key)), key, key, (steps, after, last) => {
      const order = new KeyOrder();
      const model = new Set<string>();
      for (const [add, each] of steps) {
        if (add && !model.has(each)) order.add(each);
        if (!add) order.delete(new Set([each]));
        if (add) model.add(each);
        else model.delete(each);
      }
      const all = [...model].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      assert.deepEqual(order.all(), all);
      const inside = all.filter((each) => compareUtf8(each, after) > 0 && compareUtf8(each, last) <= 0);
      assert.deepEqual(order.between(after, last), inside);
      assert.deepEqual(order.between(after, last, 2), inside.slice(0, 2));
    }),
  );
});

describe("a replica", () => {
  test("keeps tombstones of unknown keys, so that a stale value does not come back", () => {
    const at = replica("a");
    at.apply("k", valueAt(bare(6)));
    assert.equal(at.apply("k", valueAt(bare(5), "stale")), undefined);
    assert.equal(isTombstone(at.get("k") as MapValue), true);
  });

  test("keeps unknown fields of the entry and of its version", () => {
    // digest { timestamp: 1, field 9: 1 }, value "v", field 15: "new"
    const wire = "0a0c0a0800000000000000014801120176" + "7a036e6577";
    const [a, b] = [replica("a"), replica("b")];
    a.apply("k", fromBinary(MapValueSchema, unhex(wire)));
    talk(a, linkOf(a), b, linkOf(b));
    const [toB, toA] = [linkOf(a), linkOf(b)];
    toB.advertise();
    talk(a, toB, b, toA);
    assert.equal(held(b)["k"], wire);
  });

  test("writes later than anything it has observed, and removes only existing keys", () => {
    const at = replica("a", () => 1000);
    at.apply("k", valueAt(bare(2n ** 60n), "ahead"));
    assert.ok(compareValues(at.set("k", utf8("v")).after, valueAt(bare(2n ** 60n), "ahead")) > 0);
    assert.deepEqual(at.delete(["nothing"]), []);
    assert.equal(at.delete(["k"]).length, 1);
    assert.deepEqual(at.delete(["k"]), []);
  });

  test("clears with one timestamp for all", () => {
    const at = replica("a");
    for (const key of ["a", "b", "c"]) at.set(key, utf8(key));
    const removed = at.delete(at.keys());
    assert.equal(new Set(removed.map(({ after }) => hex(after.digest?.timestamp as Uint8Array))).size, 1);
    assert.equal(at.tombstones, 3);
  });

  test("does not store an entry with a malformed timestamp", () => {
    const at = replica("a");
    assert.equal(at.apply("k", valueAt(new Uint8Array(5), "v")), undefined);
    assert.equal(at.size, 0);
  });

  test("forgets tombstones that are old and confirmed, and counts its bytes", () => {
    let now = 1_700_000_000_000;
    const at = replica("a", () => now);
    for (const key of ["a", "b", "c"]) at.set(key, utf8("12345"));
    assert.equal(at.bytes, 18);
    at.delete(["a"]);
    now += 1000;
    at.delete(["b"]);
    const all = () => true;
    assert.deepEqual(at.forgettable(all), []);
    now += DAY_MS - 1000;
    assert.deepEqual(at.forgettable(all), ["a"]);
    now += 1000;
    assert.deepEqual(at.forgettable(all), ["a", "b"]);
    assert.deepEqual(
      at.forgettable((key) => key !== "b"),
      ["a"],
      "b is not confirmed",
    );
    at.set("a", utf8(""));
    at.forget(["a", "b", "c"]);
    assert.deepEqual([at.keys(), at.bytes, at.tombstones], [["a", "c"], 7, 0]);
  });
});

describe("a link", () => {
  test("pulls everything with an empty advertisement", () => {
    const [full, empty] = [replica("full"), replica("empty")];
    for (let i = 0; i < 25; i++) full.set(`k${i}`, utf8("v"));
    full.delete(["k3"]);
    const [toEmpty, toFull] = [linkOf(full), linkOf(empty)];
    toFull.advertise();
    assert.equal(toFull.caughtUp, false);
    const said = talk(full, toEmpty, empty, toFull);
    assert.deepEqual(held(empty), held(full));
    assert.deepEqual([toFull.caughtUp, toFull.hasAll(empty.revision)], [true, true]);
    assert.equal(toEmpty.hasAll(full.revision), true, "by the hash of all");
    assert.equal(entriesIn(said), 25, "each entry once");
    const round = "antiEntropyAdvertisement";
    assert.deepEqual(
      kinds(said),
      [round, "update", round, round],
      "entries first, so that none is requested; then the root, and its answer",
    );
    assert.deepEqual(
      said.filter(({ message }) => message.case === round).map((message) => keysIn(message)),
      [[""], [""], [""]],
    );
  });

  test("pulls everything from a plain peer with an empty advertisement", () => {
    const [full, empty] = [replica("full"), replica("empty")];
    for (let i = 0; i < 25; i++) full.set(`k${i}`, utf8("v"));
    const [toEmpty, toFull] = [plainLinkOf(full), linkOf(empty)];
    toFull.advertise();
    const said = talk(full, toEmpty, empty, toFull);
    assert.deepEqual(held(empty), held(full));
    assert.deepEqual([toFull.caughtUp, toFull.hasAll(empty.revision)], [true, true]);
    assert.equal(toEmpty.hasAll(full.revision), false, "it was sent all, and has not shown that it got it");
    assert.equal(entriesIn(said), 25, "each entry once");
    const round = "antiEntropyAdvertisement";
    assert.deepEqual(kinds(said), [round, "update", round], "entries first, so that none is requested");
  });

  test.each([0, 1, 9, 10, 11, 20, 25, 30])(
    "compares %i keys in chunks of 10, and sends what differs once",
    (keys) => {
      const [a, b] = [replica("a"), replica("b")];
      for (let i = 0; i < keys; i++) a.set(`k${i}`, utf8("v"));
      for (const key of a.keys()) b.apply(key, a.get(key) as MapValue);
      a.set("only a, last: \u{10ffff}", utf8("v"));
      b.set("! only b, first", utf8("v"));
      if (keys > 5) {
        a.set("k2", utf8("newer at a"));
        b.delete(["k4"]);
      }
      const [toB, toA] = [plainLinkOf(a, 10), plainLinkOf(b, 10)];
      toB.advertise();
      const said = talk(a, toB, b, toA);
      assert.deepEqual(held(a), held(b));
      assert.equal(entriesIn(said), keys > 5 ? 4 : 2);
      toB.advertise();
      const again = talk(a, toB, b, toA);
      const chunks = 2 * (Math.floor(a.size / 10) + 1);
      assert.deepEqual(kinds(again), Array(chunks).fill("antiEntropyAdvertisement"));
      assert.deepEqual([toB.hasAll(a.revision), toA.hasAll(b.revision)], [true, true]);
    },
  );

  test("treats a key as missing only within the range of the chunks so far", () => {
    const at = replica("a");
    for (const key of ["a", "b", "c", "d", "e"]) at.set(key, utf8("v"));
    const time = (key: string) => at.get(key)?.digest?.timestamp as Uint8Array;
    const link = linkOf(at, 2);
    const pushed = () =>
      drain(link).flatMap(({ message }) =>
        message.case === "update" ? Object.keys(message.value.updates) : [],
      );
    hand(at, link, advertisement({ a: time("a"), c: time("c") }));
    assert.deepEqual(pushed(), ["b"], "more chunks follow: nothing is known of d and e");
    hand(at, link, advertisement({ d: time("d") }));
    assert.deepEqual(pushed(), ["e"], "this was the last");
  });

  test("understands a peer that advertises all its keys in one message of any size", () => {
    const at = replica("a");
    for (const key of ["a", "b", "c", "d", "e"]) at.set(key, utf8("v"));
    const time = (key: string) => at.get(key)?.digest?.timestamp as Uint8Array;
    const link = linkOf(at, 2);
    const pushed = () =>
      drain(link).flatMap(({ message }) =>
        message.case === "update" ? Object.keys(message.value.updates) : [],
      );
    hand(at, link, advertisement({ a: time("a"), b: time("b"), c: time("c") }));
    assert.deepEqual(pushed(), ["d", "e"], "more than a chunk");
    hand(at, link, advertisement({ b: time("b"), c: time("c") }));
    assert.deepEqual(pushed(), ["a"], "as many as a chunk: it could go on");
    hand(at, link, advertisement({ b: time("b"), c: time("c") }));
    assert.deepEqual(pushed().sort(), ["a", "d", "e"], "but it began anew");
  });

  test("answers an older entry with its own", () => {
    const at = replica("a");
    at.set("k", utf8("new"));
    const link = linkOf(at);
    hand(at, link, update({ k: valueAt(bare(5), "stale") }));
    assert.deepEqual(kinds(drain(link)), ["update"]);
    hand(at, link, update({ k: at.get("k") as MapValue }));
    assert.deepEqual(drain(link), [], "the same is not answered");
  });

  test("finds different values with equal timestamps, by one request", () => {
    const [a, b] = [replica("a"), replica("b")];
    a.apply("k", valueAt(bare(5), "x"));
    b.apply("k", valueAt(bare(5), "y"));
    const [toB, toA] = [linkOf(a), linkOf(b)];
    toB.advertise();
    talk(a, toB, b, toA);
    assert.deepEqual([held(a), a.get("k")?.value], [held(b), utf8("y")]);
    toB.advertise();
    talk(a, toB, b, toA);
    toB.advertise();
    assert.equal(entriesIn(talk(a, toB, b, toA)), 0);
  });

  test("accepts a peer that keeps only the clock of a timestamp", () => {
    const at = replica("a");
    for (const key of ["a", "b"]) at.set(key, utf8("v"));
    at.delete(["b"]);
    const link = linkOf(at);
    const cut = (key: string) => ({
      timestamp: at.get(key)?.digest?.timestamp.subarray(0, 8) ?? clockless,
      tombstone: key === "b",
    });
    const digest = { a: cut("a"), b: cut("b") };
    const claim = create(MessageSchema, {
      source: "peer",
      target,
      message: {
        case: "antiEntropyAdvertisement",
        value: create(AntiEntropyAdvertisementSchema, { digest }),
      },
    });
    hand(at, link, claim);
    assert.equal(link.hasAll(at.revision), true);
    assert.equal(kinds(drain(link))[0], "updateRequest");
    hand(at, link, update({ a: valueAt(cut("a").timestamp, "v") }));
    drain(link);
    hand(at, link, claim);
    assert.equal(entriesIn(drain(link)), 0, "it looked once, and has nothing to tell");
  });

  test("does not send a tombstone that is older than members keep it", () => {
    let now = 1_700_000_000_000;
    const [a, b] = [replica("a", () => now), replica("b", () => now)];
    a.set("k", utf8("v"));
    a.delete(["k"]);
    now += DAY_MS + 1;
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const [here, there] = [linkOf(one), linkOf(other)];
      here.advertise();
      assert.equal(entriesIn(talk(one, here, other, there)), 0);
      assert.equal(here.hasAll(one.revision), true);
    }
    b.set("k", utf8("new"));
    const [here, there] = [linkOf(a), linkOf(b)];
    here.advertise();
    talk(a, here, b, there);
    assert.deepEqual(a.get("k")?.value, utf8("new"));
  });

  test("sends a slow reader only the newest entry of each key, in messages of limited size", () => {
    const at = replica("a");
    const link = linkOf(at);
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 1500; i++) link.changed(at.set(`k${i}`, new Uint8Array(4000)).key);
    }
    assert.equal(link.backlog, 1500);
    const said = drain(link);
    assert.equal(entriesIn(said), 1500);
    for (const message of said) assert.ok(toBinary(MessageSchema, message).length < 1.2 * 1024 ** 2);
    link.changed(at.set("large", new Uint8Array(4_000_000)).key);
    link.changed(at.set("small", new Uint8Array(1)).key);
    assert.equal(drain(link).length, 2, "what is larger than a message may be goes alone");
  });

  test("requests only a limited number of keys at a time, whatever a peer advertises", () => {
    const at = replica("a");
    const link = linkOf(at);
    for (let part = 0; part < 3; part++) {
      const digest = Array.from({ length: 4000 }, (_, i) => [`${part}-${i}`, bare(1)]);
      hand(at, link, advertisement(Object.fromEntries(digest)));
    }
    assert.equal(link.backlog, 10_000);
    const asked = drain(link).filter(({ message }) => message.case === "updateRequest");
    assert.equal(asked.length, 10);
    assert.equal(link.caughtUp, false);
  });

  test("ends its round although entries change continuously", () => {
    const at = replica("a");
    for (let i = 0; i < 95; i++) at.set(`k${i}`, utf8("v"));
    const link = plainLinkOf(at, 10);
    link.advertise();
    let chunks = 0;
    for (let sent = 0; sent < 60 && chunks < 10; sent++) {
      link.changed(at.set(`k${sent % 95}`, utf8("w")).key);
      if (link.next(Infinity)?.message.case === "antiEntropyAdvertisement") chunks++;
    }
    assert.equal(chunks, 10);
  });

  test("gets a few changes confirmed by requests, and many by a comparison", () => {
    const [a, b] = [replica("a"), replica("b")];
    for (let i = 0; i < 100; i++) a.set(`k${i}`, utf8("v"));
    const [toB, toA] = [linkOf(a), linkOf(b)];
    toB.advertise();
    talk(a, toB, b, toA);
    toB.advertise();
    talk(a, toB, b, toA);
    assert.equal(toB.hasAll(a.revision), true);
    toB.changed(a.set("k1", utf8("w")).key);
    assert.equal(toB.hasAll(a.revision), false);
    toB.confirm();
    assert.deepEqual(kinds(talk(a, toB, b, toA)), ["update", "updateRequest", "update"]);
    assert.equal(toB.hasAll(a.revision), true);
    toB.changed(a.set("k1", new Uint8Array(100_000)).key);
    toB.confirm();
    assert.equal(entriesIn(talk(a, toB, b, toA)), 1, "what is large is not sent back");
    assert.equal(toB.hasAll(a.revision), true);
  });

  test("gets a key confirmed that changes continuously", () => {
    const [a, b] = [replica("a"), replica("b")];
    a.set("k", utf8("0"));
    const [toB, toA] = [linkOf(a), linkOf(b)];
    toB.advertise();
    talk(a, toB, b, toA);
    const change = (i: number) => toB.changed(a.set("k", utf8(`${i}`)).key);
    change(1);
    const { revision } = a;
    change(2);
    assert.equal(toB.hasAll(revision), false, "what was written over is not there for that");
    toB.confirm();
    for (let i = 3; !toB.hasAll(revision); i++) {
      assert.ok(i < 10, "it is never confirmed");
      const message = toB.next(Infinity);
      change(i);
      if (message) hand(b, toA, message);
      for (const answer of drain(toA)) hand(a, toB, answer);
    }
    assert.notDeepEqual(b.get("k")?.value, utf8("0"));
    assert.equal(toB.hasAll(a.revision), false);
  });

  test("does not confirm a write that was replaced before there was a link, until the newer one is confirmed", () => {
    const [a, b] = [replica("a"), replica("b")];
    a.set("k", utf8("0"));
    const { revision } = a;
    a.delete(["k"]);
    const [toB, toA] = [linkOf(a), linkOf(b)];
    toA.advertise();
    for (const message of drain(toA)) hand(a, toB, message);
    assert.equal(toB.hasAll(revision), false, "the peer has neither of them");
    talk(a, toB, b, toA);
    toB.confirm();
    talk(a, toB, b, toA);
    assert.equal(toB.hasAll(revision), true);
  });

  test("does not confirm a write whose predecessor alone is confirmed", () => {
    const [a, b] = [replica("a"), replica("b")];
    const [toB, toA] = [plainLinkOf(a), plainLinkOf(b)];
    toB.advertise();
    talk(a, toB, b, toA);
    toB.changed(a.set("k", utf8("0")).key);
    for (const message of drain(toB)) hand(b, toA, message);
    toB.changed(a.set("k", utf8("1")).key);
    const { revision } = a;
    toB.changed(a.set("k", utf8("2")).key);
    toA.advertise();
    for (const message of drain(toA)) hand(a, toB, message);
    assert.deepEqual([toB.hasAll(revision - 1), toB.hasAll(revision)], [true, false]);
  });

  test("does not treat a requested confirmation as an older entry of the peer", () => {
    const [a, b] = [replica("a"), replica("b")];
    a.set("k", utf8("0"));
    const [toB, toA] = [linkOf(a), linkOf(b)];
    toB.advertise();
    talk(a, toB, b, toA);
    toB.changed(a.set("k", utf8("1")).key);
    toB.confirm();
    for (const message of drain(toB)) hand(b, toA, message);
    toB.changed(a.set("k", utf8("2")).key);
    for (const message of drain(toA)) hand(a, toB, message);
    assert.equal(toB.next(performance.now()), undefined, "the newer one goes when it is due, once");
  });

  test("waits for further changes before it sends one, up to 100 of them", () => {
    const at = replica("a");
    const link = linkOf(at);
    const now = performance.now();
    for (let i = 0; i < 99; i++) link.changed(at.set(`k${i}`, utf8("v")).key);
    assert.equal(link.next(now), undefined);
    assert.ok(link.dueMs > now && link.dueMs <= performance.now() + 50);
    link.changed(at.set("k99", utf8("v")).key);
    assert.equal(link.dueMs, 0);
    assert.equal(entriesIn(drain(link)), 100);
    assert.equal(link.dueMs, Infinity);
  });

  test("sends nothing when both sides are equal, and compares again after changes or a long time", () => {
    const [a, b] = [replica("a"), replica("b")];
    a.set("k", utf8("v"));
    const [toB, toA] = [linkOf(a), linkOf(b)];
    assert.equal(toB.isStale(performance.now(), 1000, 30_000), true);
    toB.advertise();
    talk(a, toB, b, toA);
    toA.advertise();
    talk(a, toB, b, toA);
    const soon = performance.now() + 2000;
    assert.deepEqual([toB.isStale(soon, 1000, 30_000), toA.isStale(soon, 1000, 30_000)], [false, false]);
    assert.equal(toB.isStale(performance.now() + 31_000, 1000, 30_000), true);
    toB.changed(a.set("k", utf8("w")).key);
    assert.equal(toB.isStale(soon, 1000, 30_000), true);
  });

  test("a peer that is slow to answer a round is not asked again at once, and the answers come to an end", () => {
    const [a, b] = [replica("a"), replica("b")];
    a.set("k", utf8("v"));
    const [toB, toA] = [plainLinkOf(a), plainLinkOf(b)];
    toB.advertise();
    const first = drain(toB);
    assert.equal(toB.isStale(performance.now() + 5000, 1000, 30_000), false);
    // As after a wait that was too long.
    toB.advertise();
    const second = drain(toB);
    assert.deepEqual([first.length, second.length], [1, 1]);
    for (const message of first) hand(b, toA, message);
    const answers = drain(toA);
    for (const message of second) hand(b, toA, message);
    answers.push(...drain(toA));
    for (const message of answers) hand(a, toB, message);
    talk(a, toB, b, toA);
    assert.deepEqual([toB.rounds, toA.rounds], [2, 2]);
  });
});

describe("changes() of one key between two steps", () => {
  const differences = async (changes: Changes) => {
    changes.end();
    const seen = [];
    for await (const { key, before, after } of changes.read(new AbortController().signal)) {
      seen.push([
        key,
        before && Buffer.from(before.value).toString(),
        after && Buffer.from(after.value).toString(),
      ]);
    }
    return seen;
  };

  test("become one change, from the value at the last step to the current one", async () => {
    const at = replica("a");
    at.set("old", utf8("1"));
    const changes = new Changes();
    const add = (stored: ReturnType<Replica["set"]>) => changes.add(stored, true);
    add(at.set("old", utf8("2")));
    add(at.set("new", utf8("1")));
    at.delete(["old"]).forEach(add);
    add(at.set("old", utf8("3")));
    add(at.set("gone", utf8("1")));
    at.delete(["gone"]).forEach(add);
    assert.deepEqual(await differences(changes), [
      ["old", "1", "3"],
      ["new", undefined, "1"],
    ]);
  });
});

describe("replicas converge", () => {
  const KEYS = ["a", "b", "c", "d", "e", "ключ", "🔑", "\uffff"];
  const member = fc.integer({ min: 0, max: 3 });
  const key = fc.constantFrom(...KEYS);
  const step = fc.oneof(
    fc.record({ type: fc.constant("set" as const), member, key, value: fc.string({ maxLength: 2 }) }),
    fc.record({ type: fc.constant("delete" as const), member, key }),
    /** A peer without member ids, with few clocks, so that timestamps are often equal. */
    fc.record({
      type: fc.constant("bare" as const),
      member,
      key,
      clock: fc.integer({ min: 0, max: 3 }),
      value: fc.option(fc.constantFrom("x", "y", "z"), { nil: undefined }),
    }),
    fc.record({ type: fc.constant("advertise" as const), member, other: member }),
    fc.record({
      type: fc.constantFrom("deliver" as const, "duplicate" as const, "lose" as const),
      nth: fc.nat(),
    }),
  );

  /** Entries as strings with the same order. */
  const rank = ({ digest, value }: MapValue) => {
    const { timestamp = new Uint8Array(), tombstone = false } = digest ?? {};
    return `${hex(timestamp).padEnd(16, "0")} ${Number(tombstone)} ${tombstone ? "" : hex(value)}`;
  };

  test("to the newest entries, whatever happens to the messages", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.integer({ min: 1, max: 4 }), (steps, chunkKeys) => {
        let now = 1_700_000_000_000;
        const members = Array.from({ length: 4 }, (_, i) => replica(`m${i}`, () => now + i * 7));
        const model = new Map<string, MapValue>();
        const network: { to: number; from: number; message: Message }[] = [];
        const links = members.map((at) => members.map(() => linkOf(at, chunkKeys)));
        const link = (from: number, to: number) => links[from]?.[to] as Link;
        const send = () => {
          for (const [from, row] of links.entries()) {
            for (const [to, each] of row.entries()) {
              if (from !== to) network.push(...drain(each).map((message) => ({ from, to, message })));
            }
          }
        };
        const wrote = (at: number, key: string, value: MapValue) => {
          const newest = model.get(key);
          if (!newest || rank(value) > rank(newest)) model.set(key, value);
          for (const [to, each] of (links[at] as Link[]).entries()) if (to !== at) each.changed(key);
        };
        const receive = ({ from, to, message }: (typeof network)[number]) =>
          hand(members[to] as Replica, link(to, from), message);

        for (const each of steps) {
          now++;
          switch (each.type) {
            case "set": {
              const at = members[each.member] as Replica;
              wrote(each.member, each.key, at.set(each.key, utf8(each.value)).after);
              break;
            }
            case "delete": {
              const [stored] = (members[each.member] as Replica).delete([each.key]);
              if (stored) wrote(each.member, each.key, stored.after);
              break;
            }
            case "bare": {
              const value = valueAt(each.clock === 0 ? new Uint8Array() : bare(each.clock), each.value);
              if ((members[each.member] as Replica).apply(each.key, value))
                wrote(each.member, each.key, value);
              break;
            }
            case "advertise":
              if (each.member !== each.other) link(each.member, each.other).advertise();
              break;
            default: {
              send();
              if (network.length === 0) break;
              const at = each.nth % network.length;
              if (each.type !== "lose") receive(network[at] as (typeof network)[number]);
              if (each.type !== "duplicate") network.splice(at, 1);
            }
          }
        }

        // Every stream breaks. Then each member is compared with the first one twice: to collect all, and to spread all.
        for (let pass = 0; pass < 2; pass++) {
          for (let i = 1; i < members.length; i++) {
            const [hub, at] = [members[0] as Replica, members[i] as Replica];
            const [toHub, toMember] = [linkOf(at, chunkKeys), linkOf(hub, chunkKeys)];
            toHub.advertise();
            talk(at, toHub, hub, toMember);
            assert.equal(toHub.caughtUp, true);
            // Each side may request the value of an ambiguous version once.
            toHub.advertise();
            talk(at, toHub, hub, toMember);
            toHub.advertise();
            assert.equal(entriesIn(talk(at, toHub, hub, toMember)), 0, "nothing is left to tell");
            assert.deepEqual([toHub.hasAll(at.revision), toMember.hasAll(hub.revision)], [true, true]);
          }
        }
        const expected = Object.fromEntries([...model].map(([key, value]) => [key, rank(value)]));
        for (const at of members) {
          const found = Object.fromEntries(at.keys().map((key) => [key, rank(at.get(key) as MapValue)]));
          assert.deepEqual(found, expected);
        }
      }),
      { numRuns: 200 },
    );
  });
});

test("an empty update is a heartbeat: it changes only the clock", () => {
  const at = replica("a", () => 1000);
  const link = linkOf(at);
  const heartbeat = create(UpdateSchema, { timestamp: bare(2n ** 50n) });
  hand(
    at,
    link,
    create(MessageSchema, { source: "go", target, message: { case: "update", value: heartbeat } }),
  );
  assert.deepEqual([at.size, drain(link)], [0, []]);
  assert.equal(clockOf(at.set("k", utf8("v")).after.digest?.timestamp as Uint8Array), 2n ** 50n + 1n);
});

test("messages of another implementation are understood", () => {
  const vector = (text: string) => fromBinary(MessageSchema, unhex(text));
  const foo = "0a180a03666f6f12110a0a0a0800000000000000051203626172";
  const at = replica("a", () => 1000);
  const link = linkOf(at);
  hand(
    at,
    link,
    vector(`0a086d656d6265722d31120f0a0474657374120767726f75702d311a24${foo}12080000000000000005`),
  );
  assert.deepEqual(at.get("foo"), valueAt(bare(5), "bar"));
  hand(
    at,
    link,
    vector("0a086d656d6265722d32120f0a0474657374120767726f75702d31220f0a03666f6f12080000000000000008"),
  );
  const [told] = drain(link);
  assert.deepEqual(told?.message.case === "update" && told.message.value.updates, { foo: at.get("foo") });
  const tombstone = "0a130a03666f6f120c0a080000000000000006100112080000000000000007";
  hand(at, link, vector(`0a086d656d6265722d31120f0a0474657374120767726f75702d312a1f${tombstone}`));
  const [asked] = drain(link);
  assert.deepEqual(asked?.message.case === "updateRequest" && asked.message.value.keys, ["foo"]);
});
