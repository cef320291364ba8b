import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, test } from "vitest";
import { type MapValue, MapValueSchema } from "../../gen/atomix/map/map_pb.js";
import { compareTimestamps, wallMsOf } from "../../src/gossip/clock.js";
import { ExpiryQueue } from "../../src/gossip/expiry-queue.js";
import { endMsOf, lifetimeOf, MAX_LIFETIME_MS, withLifetime } from "../../src/gossip/lifetime.js";
import { Replica, type Stored } from "../../src/gossip/replica.js";
import { timestampFault } from "../../src/gossip/timestamp-fault.js";
import { memberOf } from "../../src/gossip/timestamp-suffix.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import { manualTime } from "../support/manual-time.js";

const ttl = (ttlMs: number) => ({ ttlMs, isEphemeral: false });
const stampOf = ({ after }: Stored) => after.digest?.timestamp ?? assert.fail();

/** A timestamp of the member "é" with `suffix` after the member id. */
const stamp = (...suffix: number[]) => Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, ...utf8("é"), ...suffix);

/** A replica on a clock of its own, with the ends of lifetimes that it reported. */
function replica(member = "a", time = manualTime(), tombstoneMs = 1000) {
  const ended: string[] = [];
  const at = new Replica(member, {
    tombstoneMs,
    environment: time,
    onEnded: ({ key, before, live }) => {
      assert.ok(before && !live);
      ended.push(key);
    },
  });
  return { at, time, ended };
}

describe("a lifetime in a timestamp", () => {
  test("is 0xFF, flags and a varint after the member id", () => {
    assert.deepEqual(withLifetime(stamp(), ttl(300)), stamp(0xff, 0, 0xac, 2));
    assert.deepEqual(withLifetime(stamp(), { ttlMs: 1, isEphemeral: true }), stamp(0xff, 1, 1));
    assert.equal(fromUtf8(memberOf(stamp(0xff, 1, 1))), "é");
    assert.equal(fromUtf8(memberOf(stamp())), "é");
  });

  test("is read as it was written, whatever its length", () => {
    const lifetimes = fc.record({
      ttlMs: fc.integer({ min: 1, max: MAX_LIFETIME_MS }),
      isEphemeral: fc.boolean(),
    });
    const longest = { ttlMs: MAX_LIFETIME_MS, isEphemeral: true };
    fc.assert(
      fc.property(lifetimes, (lifetime) => {
        const timestamp = withLifetime(stamp(), lifetime);
        assert.deepEqual(lifetimeOf(timestamp), { ...lifetime });
        assert.equal(endMsOf(timestamp), wallMsOf(timestamp) + lifetime.ttlMs);
        assert.equal(timestampFault(timestamp), undefined);
      }),
      { examples: [[longest], [ttl(127)], [ttl(128)], [ttl(2 ** 32)]].map(([each]) => [each ?? longest]) },
    );
  });

  test("is malformed without its milliseconds, with 0 or too many, and with bytes after it", () => {
    const malformed = {
      "no milliseconds": [0xff, 0],
      "0 ms": [0xff, 0, 0],
      "a varint without an end": [0xff, 0, 0x80],
      "a byte after it": [0xff, 0, 1, 0],
      "a varint of 7 bytes": [0xff, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
      "more than 68 years": [...withLifetime(stamp(), ttl(MAX_LIFETIME_MS + 1))].slice(10),
    };
    for (const [what, suffix] of Object.entries(malformed)) {
      assert.equal(lifetimeOf(stamp(...suffix)), "malformed", what);
      assert.match(timestampFault(stamp(...suffix)) ?? "", /after the byte 0xFF/, what);
      const { at } = replica();
      const value = create(MapValueSchema, { digest: { timestamp: stamp(...suffix) } });
      assert.equal(at.apply("k", value), undefined, what);
      assert.equal(at.size, 0);
    }
  });

  test("flags that are not known, and a mark at the end, are put up with", () => {
    assert.deepEqual(lifetimeOf(stamp(0xff, 0b110, 5)), ttl(5));
    for (const suffix of [[], [0xff]]) {
      assert.equal(lifetimeOf(stamp(...suffix)), undefined);
      assert.equal(timestampFault(stamp(...suffix)), undefined);
    }
    // 0xFF in the clock is no mark.
    assert.equal(lifetimeOf(new Uint8Array(8).fill(0xff)), undefined);
    // At the lowest clock, the bytes after it are not those of an entry.
    assert.equal(lifetimeOf(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0)), undefined);
  });

  test("does not change which of two writes is later", () => {
    const { at, time } = replica();
    const first = stampOf(at.set("k", utf8("1"), ttl(MAX_LIFETIME_MS)));
    const second = stampOf(at.set("k", utf8("2")));
    time.pass(1);
    const third = stampOf(at.set("k", utf8("3"), ttl(1)));
    assert.ok(compareTimestamps(first, second) < 0 && compareTimestamps(second, third) < 0);
  });
});

describe("an entry with a lifetime", () => {
  test("is absent from its end on, and one timer reports it as a removal", () => {
    const { at, time, ended } = replica();
    at.set("stays", utf8("s"));
    at.set("long", utf8("l"), ttl(100));
    const { before, live } = at.set("short", utf8("s"), ttl(50));
    assert.deepEqual([before, live?.value], [undefined, utf8("s")]);
    assert.equal(time.timers, 1);
    time.pass(49);
    assert.deepEqual([ended, at.liveSize, at.live("short")?.value], [[], 3, utf8("s")]);
    time.pass(1);
    assert.deepEqual(ended, ["short"]);
    assert.deepEqual([at.live("short"), at.liveSize, at.tombstones, at.size], [undefined, 2, 1, 3]);
    assert.equal(time.timers, 1);
    time.pass(1000);
    assert.deepEqual([ended, at.liveSize, time.timers], [["short", "long"], 1, 0]);
  });

  test("is absent for a reader even if the timer is late, and is reported once", () => {
    const { at, time, ended } = replica();
    at.set("k", utf8("v"), ttl(50));
    time.setAhead(50);
    assert.equal(at.live("k"), undefined);
    assert.deepEqual([ended, at.liveSize], [["k"], 0]);
    time.pass(100);
    assert.deepEqual(ended, ["k"]);
  });

  test("ends by the wall clock, also after that was set back", () => {
    const { at, time, ended } = replica();
    at.set("k", utf8("v"), ttl(50));
    time.setAhead(-30);
    time.pass(50);
    assert.deepEqual([ended, at.liveSize], [[], 1]);
    time.pass(30);
    assert.deepEqual([ended, at.liveSize], [["k"], 0]);
  });

  test("is replaced by a later write, with another lifetime or none", () => {
    const { at, time, ended } = replica();
    for (let renewals = 0; renewals < 1000; renewals++) {
      at.set("renewed", utf8("v"), ttl(50));
      time.pass(20);
    }
    at.set("kept", utf8("v"), ttl(50));
    at.set("kept", utf8("w"));
    at.set("removed", utf8("v"), ttl(50));
    at.delete(["removed"]);
    time.pass(40);
    assert.deepEqual(
      [ended, [at.live("renewed"), at.live("kept")?.value]],
      [["renewed"], [undefined, utf8("w")]],
    );
    time.pass(1000);
    assert.deepEqual([ended, at.expiring], [["renewed"], 0]);
    const { before, live } = at.set("renewed", utf8("again"));
    assert.deepEqual([before, live?.value], [undefined, utf8("again")], "it was absent before");
  });

  test("is kept as a tombstone is: for tombstoneMs, and it is not removed again", () => {
    const { at, time } = replica();
    at.set("k", utf8("v"), ttl(50));
    time.pass(50);
    assert.deepEqual(at.delete(["k"]), []);
    time.pass(999);
    assert.deepEqual([at.forgettable(() => true), at.size], [[], 1]);
    time.pass(1);
    assert.deepEqual(
      at.forgettable(() => false),
      [],
    );
    assert.deepEqual(
      at.forgettable(() => true),
      ["k"],
    );
    at.forget(["k"]);
    assert.deepEqual([at.size, at.liveSize, at.tombstones, at.bytes], [0, 0, 0, 0]);
  });

  test("that arrives after its end is stored, absent and outdated after tombstoneMs", () => {
    const { at: writer, time } = replica("writer");
    const { after } = writer.set("k", utf8("v"), ttl(50));
    const { at: reader, ended } = replica("reader", time);
    time.pass(60);
    const stored = reader.apply("k", after);
    assert.deepEqual(
      [stored?.before, stored?.live, reader.liveSize, reader.size],
      [undefined, undefined, 0, 1],
    );
    const digest = after.digest ?? assert.fail();
    assert.equal(reader.isOutdated(digest), false);
    time.pass(1000);
    assert.equal(reader.isOutdated(digest), true);
    assert.deepEqual(ended, [], "nobody saw it here");
  });

  test("that replaces one that readers see is a removal if it has ended", () => {
    const { at: writer, time } = replica("writer");
    const { at: reader } = replica("reader", time);
    reader.apply("k", writer.set("k", utf8("old")).after);
    const { after } = writer.set("k", utf8("new"), ttl(50));
    time.pass(60);
    const stored = reader.apply("k", after);
    assert.deepEqual([stored?.before?.value, stored?.live, reader.liveSize], [utf8("old"), undefined, 0]);
  });

  test("sets no timer after stop(), and none for a replica that reports nothing", () => {
    const { at, time, ended } = replica();
    at.set("k", utf8("v"), ttl(50));
    at.stop();
    at.set("l", utf8("v"), ttl(20));
    assert.equal(time.timers, 0);
    time.pass(60);
    assert.deepEqual([at.liveSize, ended], [0, ["l", "k"]]);
    const silent = new Replica("b", { tombstoneMs: 1000, environment: time });
    silent.set("k", utf8("v"), ttl(50));
    assert.equal(time.timers, 0);
    time.pass(50);
    assert.equal(silent.liveSize, 0);
  });
});

test("the queue of expiries returns what is due in order, and forgets what was replaced", () => {
  const queue = new ExpiryQueue();
  for (let i = 0; i < 1000; i++) queue.set("renewed", i);
  queue.set("gone", 5);
  queue.delete("gone");
  queue.set("later", 2000);
  queue.set("earlier", 10);
  assert.deepEqual([queue.size, queue.nextMs], [3, 10]);
  assert.deepEqual(
    [queue.takeDue(9), queue.takeDue(10), queue.takeDue(998)],
    [undefined, "earlier", undefined],
  );
  assert.deepEqual(
    [queue.takeDue(5000), queue.takeDue(5000), queue.takeDue(5000)],
    ["renewed", "later", undefined],
  );
  assert.deepEqual([queue.size, queue.nextMs], [0, Number.POSITIVE_INFINITY]);
});

/** A replica's entries as its readers see them. */
const seen = (at: Replica): Record<string, MapValue | undefined> =>
  Object.fromEntries(at.keys().map((key) => [key, at.live(key)]));

test("replicas with the same entries show the same keys at the same time, in whatever order these came", () => {
  const writes = fc.array(
    fc.record({ key: fc.constantFrom("a", "b"), ttlMs: fc.option(fc.integer({ min: 1, max: 30 })) }),
    { minLength: 1, maxLength: 8 },
  );
  fc.assert(
    fc.property(writes, fc.integer({ min: 0, max: 40 }), (all, passMs) => {
      const { at: writer, time } = replica("writer");
      const entries = all.map(({ key, ttlMs }) => {
        time.pass(3);
        return [key, writer.set(key, utf8("v"), ttlMs === null ? undefined : ttl(ttlMs)).after] as const;
      });
      const { at: reader } = replica("reader", time);
      for (const [key, value] of entries.toReversed()) reader.apply(key, value);
      time.pass(passMs);
      assert.deepEqual(seen(reader), seen(writer));
      assert.equal(reader.liveSize, writer.liveSize);
    }),
  );
});
