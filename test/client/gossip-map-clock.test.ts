import assert from "node:assert/strict";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { test } from "vitest";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { LocalMember, type LocalMemberOptions } from "../../src/client/gossip-map/member.js";
import { openGossipMap } from "../../src/client/gossip-map.js";
import { wallMsOf } from "../../src/gossip/clock.js";
import { processEnvironment } from "../../src/gossip/environment.js";
import { utf8 } from "../../src/lib/utf8.js";
import { memoryPersistence } from "../support/memory-persistence.js";
import { openInProcess } from "../support/protocols.js";
import { rawMember, updates } from "../support/raw-member.js";
import { switchedTransport } from "../support/switched-transport.js";
import { until } from "../support/until.js";

const HOUR_MS = 3_600_000;
const quick = { flushMs: 1, antiEntropyMs: 10 };

/** A member whose wall clock is `aheadMs` ahead, or behind; it may be set later. */
function memberWithClock(
  transport: Transport,
  aheadMs: number,
  options: Partial<LocalMemberOptions> = {},
): { member: LocalMember; clock: { aheadMs: number } } & AsyncDisposable {
  const clock = { aheadMs };
  const member = new LocalMember(transport, "m", {
    namespace: "default",
    memberId: "wrong",
    ...quick,
    tombstoneMs: 24 * HOUR_MS,
    maxAheadMs: 60_000,
    signal: undefined,
    call: {},
    environment: { ...processEnvironment, nowMs: () => Date.now() + clock.aheadMs },
    ...options,
  });
  return { member, clock, [Symbol.asyncDispose]: () => member.close() };
}

const write = (member: LocalMember, key: string, text: string, ttlMs?: number) =>
  member.write("set", () => [
    member.replica.set(
      key,
      utf8(`"${text}"`),
      ttlMs === undefined ? undefined : { ttlMs, isEphemeral: false },
    ),
  ]);

/** How far the entry at `key` is ahead of the right time, in milliseconds. */
const aheadOf = (member: LocalMember, key: string) =>
  wallMsOf(member.replica.get(key)?.digest?.timestamp ?? assert.fail()) - Date.now();

const refusedEntries = async (at: Awaited<ReturnType<typeof openInProcess>>) =>
  Number(/^fairlead_gossip_refused_entries_total (\d+)$/m.exec((await at.server.metrics(null)).body)?.[1]);

test("a member whose clock is far ahead corrects it, and its writes arrive: nobody notices", async () => {
  await using at = await openInProcess();
  await using bob = await openGossipMap<string>(at.transport, "m", quick);
  bob.set("bob's", "1");
  await bob.synced();
  const wire = switchedTransport(at.transport);
  wire.off();
  await using wrong = memberWithClock(wire, HOUR_MS);
  const { member } = wrong;
  await member.loaded;
  write(member, "first", "1");
  write(member, "second", "2");
  write(member, "lasts", "3", 100_000);
  member.write("delete", () => member.replica.delete(["second"]));
  const seen: string[] = [];
  const states: string[] = [];
  void (async () => {
    for await (const { key, type } of member.changes(undefined, typesOf)) seen.push(`${type} ${key}`);
  })();
  void (async () => {
    for await (const { current } of member.status.changes()) states.push(current);
  })();
  assert.ok(aheadOf(member, "first") > HOUR_MS - 5000);
  wire.on();
  await member.synced({});
  await until(() => bob.size === 3);
  assert.deepEqual([...bob.keys()], ["bob's", "first", "lasts"]);
  assert.ok(Math.abs(aheadOf(member, "first")) < 10_000, `${aheadOf(member, "first")}`);
  assert.deepEqual([bob.has("second"), bob.get("first"), bob.refused], [false, "1", 0]);
  // What is written later is later for everybody.
  write(member, "first", "new");
  await until(() => bob.get("first") === "new");
  bob.set("first", "newest");
  await until(() => member.replica.live("first")?.value.length === 8);
  await until(() => seen.includes("insert bob's"));
  assert.deepEqual(
    seen.filter((each) => !each.endsWith("first")),
    ["insert bob's"],
    "the same values are no changes",
  );
  assert.ok(!states.includes("closed"), states.join());
  assert.ok((await refusedEntries(at)) >= 3);
});

/** The kinds of changes, for LocalMember.changes(). */
async function* typesOf(differences: AsyncIterable<{ key: string; before: unknown; after: unknown }>) {
  for await (const { key, before, after } of differences)
    yield { key, type: after ? (before ? "update" : "insert") : "remove" };
}

test("a member whose clock is set ahead while it is connected goes on", async () => {
  await using at = await openInProcess();
  await using bob = await openGossipMap<string>(at.transport, "m", quick);
  await using wrong = memberWithClock(at.transport, 0);
  const { member, clock } = wrong;
  write(member, "k", "1");
  await member.synced({});
  clock.aheadMs = HOUR_MS;
  write(member, "k", "2");
  await until(() => bob.get("k") === "2");
  assert.ok(Math.abs(aheadOf(member, "k")) < 10_000);
  clock.aheadMs = 0;
  write(member, "k", "3");
  await until(() => bob.get("k") === "3");
});

test("a member whose clock is behind corrects it by the first message, so that its writes are not older", async () => {
  await using at = await openInProcess();
  await using bob = await openGossipMap<string>(at.transport, "m", quick);
  bob.set("other", "1");
  bob.set("ends", "soon", { ttlMs: 60_000 });
  await bob.synced();
  await using wrong = memberWithClock(at.transport, -HOUR_MS);
  const { member } = wrong;
  await member.caughtUp({});
  write(member, "k", "v");
  assert.ok(Math.abs(aheadOf(member, "k")) < 10_000, `${aheadOf(member, "k")}`);
  assert.equal(member.replica.refused, 0);
  await until(() => bob.get("k") === "v");
});

test("entries stamped again are not raised by the storage, and foreign ones that nobody takes are dropped", async () => {
  await using at = await openInProcess();
  const persist = memoryPersistence();
  const wire = switchedTransport(at.transport);
  wire.off();
  const first = memberWithClock(wire, HOUR_MS, { persist });
  await first.member.loaded;
  write(first.member, "k", "old");
  wire.on();
  await first.member.synced({});
  write(first.member, "k", "new");
  await first.member.synced({});
  await first.member.close();
  wire.off();
  const second = memberWithClock(wire, 0, { persist, memberId: "again" });
  await second.member.loaded;
  assert.equal(Buffer.from(second.member.replica.live("k")?.value ?? []).toString(), '"new"');
  await second.member.close();
});

test("a member that cannot correct its clock is refused, with the entry and the limit in the error", async () => {
  await using at = await openInProcess({ config: { gossip: { maxAheadMs: 5000 } } });
  await using raw = rawMember(at.transport, "m");
  raw.update({ near: ["v", BigInt(Date.now() + 4000) << 16n] });
  raw.send({ case: "updateRequest", value: { keys: ["near"] } });
  await raw.until(updates("near"));
  const before = await refusedEntries(at);
  raw.update({ ok: ["v", 1], far: ["v", BigInt(Date.now() + 10_000) << 16n] });
  const error = await raw.ended.then(
    () => assert.fail("it was not refused"),
    (reason: unknown) => ConnectError.from(reason),
  );
  assert.equal(error.code, Code.InvalidArgument);
  assert.match(
    error.message,
    /update\.updates\["far"\]\.digest\.timestamp .*at most 5000 ms ahead of the server's clock/,
  );
  const [violation] = error.findDetails(BadRequestSchema)[0]?.fieldViolations ?? [];
  assert.equal(violation?.field, 'update.updates["far"].digest.timestamp');
  const info = error.findDetails(ErrorInfoSchema)[0];
  assert.equal(info?.reason, "CLOCK_AHEAD");
  assert.equal(info?.metadata["maxAheadMs"], "5000");
  assert.ok(Math.abs(Number(info?.metadata["nowMs"]) - Date.now()) < 10_000);
  assert.equal(await refusedEntries(at), before + 1);
  await using bob = await openGossipMap(at.transport, "m");
  assert.deepEqual([...bob.keys()], ["near"], "nothing of the message was stored");
});

test("a member does not store entries of others that are too far ahead, and counts them", async () => {
  await using at = await openInProcess({ config: { gossip: { maxAheadMs: 24 * HOUR_MS } } });
  await using bob = await openGossipMap<string>(at.transport, "m", quick);
  await using lenient = await openGossipMap<string>(at.transport, "m", { ...quick, maxAheadMs: 2 * HOUR_MS });
  await using raw = rawMember(at.transport, "m");
  raw.update({ far: ['"v"', BigInt(Date.now() + HOUR_MS) << 16n], near: ['"v"', BigInt(Date.now()) << 16n] });
  await until(() => lenient.has("far") && bob.has("near") && bob.refused > 0);
  assert.equal(bob.has("far"), false);
  assert.equal(lenient.refused, 0);
  // Its own clock does not follow.
  bob.set("far", "mine");
  bob.set("k", "v");
  await until(() => lenient.get("k") === "v");
  assert.equal(lenient.get("far"), "v");
});
