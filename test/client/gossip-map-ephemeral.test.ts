import assert from "node:assert/strict";
import { test } from "vitest";
import { EPHEMERAL_LIFETIME, EphemeralWrites } from "../../src/client/gossip-map/ephemeral-writes.js";
import { Replica, type Stored } from "../../src/gossip/replica.js";
import { utf8 } from "../../src/lib/utf8.js";
import { EphemeralEntries } from "../../src/server/services/gossip-map/ephemeral-entries.js";
import { manualTime } from "../support/manual-time.js";

const V = utf8("v");

/** A member with its ephemeral writes. `renewed` has the keys that it renewed. */
function member() {
  const time = manualTime();
  const renewed: string[] = [];
  const replica: Replica = new Replica("ada", {
    tombstoneMs: 1000,
    environment: time,
    onEnded: (ended) => writes.ended(ended),
  });
  const write = (key: string, lifetime: typeof EPHEMERAL_LIFETIME | null = EPHEMERAL_LIFETIME) =>
    writes.written(replica.set(key, V, lifetime ?? undefined));
  const writes = new EphemeralWrites(time, (key, value) => {
    renewed.push(key);
    writes.written(replica.set(key, value, EPHEMERAL_LIFETIME));
  });
  return { time, renewed, replica, writes, write };
}

test("one timer renews all ephemeral entries of a member before they end, until they are replaced or removed", () => {
  const { time, renewed, replica, writes, write } = member();
  write("a");
  time.pass(10_000);
  write("b");
  write("c");
  // One for the renewal, and one for the next end.
  assert.equal(time.timers, 2);
  write("c", null);
  time.pass(20_000);
  assert.deepEqual(renewed.splice(0), ["a", "b"]);
  for (const stored of replica.delete(["b"])) writes.written(stored);
  time.pass(300_000);
  assert.deepEqual([...new Set(renewed)], ["a"]);
  assert.equal(renewed.length, 10);
  assert.deepEqual([replica.liveSize, writes.close()], [2, ["a"]]);
  time.pass(30_000);
  assert.equal(renewed.length, 10);
});

test("an entry is renewed if it ended while the process was asleep, and if the server took its member for lost", () => {
  const { time, renewed, replica, writes, write } = member();
  write("a");
  time.setAhead(3_600_000);
  assert.ok(replica.live("a") === undefined || renewed.length === 1);
  assert.deepEqual(renewed.splice(0), ["a"]);
  assert.ok(replica.live("a"), "it is back");
  const [removed] = replica.removeEphemeral("ada");
  assert.equal(replica.live("a"), undefined);
  writes.replaced(removed ?? assert.fail());
  assert.deepEqual(renewed.splice(0), ["a"]);
  assert.ok(replica.live("a"));
  // What another member has written or removed stays so.
  const other = new Replica("bob", { tombstoneMs: 1000, environment: time });
  other.clock.observe(replica.get("a")?.digest?.timestamp ?? assert.fail());
  writes.replaced(replica.apply("a", other.set("a", utf8("bob's")).after) ?? assert.fail());
  writes.renewAll();
  assert.deepEqual(renewed, []);
});

test("removeEphemeral() removes only the ephemeral entries of that member, and a later write wins over it", () => {
  const { replica, write, time } = member();
  write("a");
  write("stays", { ttlMs: 90_000, isEphemeral: false });
  const other = new Replica("adam", { tombstoneMs: 1000, environment: time });
  replica.apply("b", other.set("b", V, EPHEMERAL_LIFETIME).after);
  const late = new Replica("late", { tombstoneMs: 1000, environment: time });
  const renewal = new Replica("ada", { tombstoneMs: 1000, environment: time });
  renewal.clock.observe(replica.get("a")?.digest?.timestamp ?? assert.fail());
  const { after } = renewal.set("a", V, EPHEMERAL_LIFETIME);
  const [removed] = replica.removeEphemeral("ada");
  assert.deepEqual(
    [removed?.key, [...replica.keys()].filter((key) => replica.live(key))],
    ["a", ["b", "stays"]],
  );
  // Whatever arrives first.
  late.apply("a", after);
  assert.equal(late.apply("a", removed?.after ?? assert.fail()), undefined);
  assert.ok(late.live("a"));
  assert.ok(replica.apply("a", after));
});

/** The ephemeral entries of a server, and a function that stores one as if `source` had sent it. */
function server() {
  const time = manualTime();
  const lost: string[][] = [];
  const entries = new EphemeralEntries({
    environment: time,
    graceMs: 3000,
    onLost: (keys) => void lost.push([...keys]),
  });
  const replica = new Replica("server", { tombstoneMs: 1000, environment: time });
  const store = (key: string, source: string | undefined, lifetime = EPHEMERAL_LIFETIME): Stored => {
    const stored = replica.set(key, V, lifetime);
    entries.stored(stored, source);
    return stored;
  };
  return { time, lost, entries, replica, store };
}

test("the entries of a member are lost when its last stream has ended, after the grace period", () => {
  const { time, lost, entries, store } = server();
  entries.joined("ada");
  entries.joined("ada");
  entries.joined("bob");
  store("a1", "ada");
  store("a2", "ada");
  store("lasting", "ada", { ttlMs: 5, isEphemeral: false });
  store("b", "bob");
  entries.left("ada");
  time.pass(10_000);
  assert.deepEqual(lost, []);
  entries.left("ada");
  time.pass(2999);
  assert.deepEqual(lost, []);
  time.pass(1);
  assert.deepEqual(lost, [["a1", "a2"]]);
  time.pass(10_000);
  assert.deepEqual([lost.length, time.timers], [1, 0]);
});

test("a member that returns within the grace period keeps its entries, and so does one that went to another server", () => {
  const { time, lost, entries, replica, store } = server();
  entries.joined("ada");
  store("a", "ada");
  entries.left("ada");
  time.pass(2000);
  entries.joined("ada");
  time.pass(10_000);
  assert.deepEqual(lost, []);
  entries.left("ada");
  time.pass(2000);
  // The renewal comes from another server, by the engine.
  store("a", undefined);
  time.pass(10_000);
  assert.deepEqual(lost, []);
  entries.joined("bob");
  store("b", "bob");
  for (const stored of replica.delete(["b"])) entries.stored(stored, "bob");
  entries.left("bob");
  assert.equal(time.timers, 0, "it has no entry any more");
});

test("an entry that is stored after its member has left is lost too", () => {
  const { time, lost, entries, store } = server();
  entries.joined("ada");
  entries.left("ada");
  store("a", "ada");
  time.pass(3000);
  assert.deepEqual(lost, [["a"]]);
  store("b", "ada");
  entries.stop();
  time.pass(3000);
  assert.equal(lost.length, 1);
});
