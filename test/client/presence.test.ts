import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "vitest";
import { createClient } from "../../src/client/client.js";
import { openGossipMap } from "../../src/client/gossip-map.js";
import { openPresence, type Presence } from "../../src/client/presence.js";
import { openInProcess } from "../support/protocols.js";
import { openSeveral } from "../support/several-servers.js";
import { switchedTransport } from "../support/switched-transport.js";
import { until } from "../support/until.js";

type State = { name: string; isTyping?: boolean };

const quick = { flushMs: 1, antiEntropyMs: 10 };
const config = { gossip: { ...quick, memberGraceMs: 200 } };

const names = (room: Presence<State>) => room.members.map(({ state }) => state.name).join();

test("members see who is here, with the state of each, and who leaves", async () => {
  await using at = await openInProcess({ config });
  const fl = createClient(at.transport);
  const ada = await fl.presence<State>("room", { state: { name: "ada" }, memberId: "1", ...quick });
  assert.deepEqual(ada.members, [{ id: "1", state: { name: "ada" }, isSelf: true }]);
  await using bob = await openPresence<State>(at.transport, "room", {
    state: { name: "bob" },
    memberId: "2",
    ...quick,
  });
  await until(() => names(ada) === "ada,bob" && names(bob) === "ada,bob");
  const seen: string[] = [];
  void (async () => {
    for await (const { type, member } of bob.changes())
      seen.push(`${type} ${member.id} ${member.state.isTyping}`);
  })();
  assert.deepEqual(
    bob.members.map(({ isSelf }) => isSelf),
    [false, true],
  );
  ada.set({ isTyping: true });
  assert.deepEqual(
    ada.members[0]?.state,
    { name: "ada", isTyping: true },
    "at once, with the other properties",
  );
  await until(() => bob.members[0]?.state.isTyping === true);
  await ada.close();
  await until(() => names(bob) === "bob");
  await until(() => seen.length === 2);
  assert.deepEqual(seen, ["update 1 true", "leave 1 true"]);
  assert.deepEqual([ada.status.current, names(ada)], ["closed", "bob"]);
  assert.throws(() => ada.set({ isTyping: false }), /closed/);
  await fl.close();
});

test("members is the same array until something changes, and listeners hear of each change", async () => {
  await using at = await openInProcess({ config });
  await using ada = await openPresence<State>(at.transport, "room", { state: { name: "ada" }, ...quick });
  let calls = 0;
  const unsubscribe = ada.subscribe(() => calls++);
  const before = ada.members;
  assert.equal(ada.members, before);
  assert.equal(ada.current, before);
  const bob = await openPresence<State>(at.transport, "room", { state: { name: "bob" }, ...quick });
  await until(() => ada.members.length === 2);
  assert.ok(calls > 0);
  assert.notEqual(ada.members, before);
  assert.ok(ada.members.includes(before[0] as never), "a member that has not changed is the same object");
  unsubscribe();
  const called = calls;
  await bob.close();
  await until(() => ada.members.length === 1);
  assert.equal(calls, called);
});

test("a member that is lost is gone after the grace period, and one that comes back in time stays", async () => {
  await using at = await openInProcess({ config: { gossip: { ...quick, memberGraceMs: 1000 } } });
  const wire = switchedTransport(at.transport);
  await using ada = await openPresence<State>(wire, "room", {
    state: { name: "ada" },
    memberId: "1",
    ...quick,
  });
  await using bob = await openPresence<State>(at.transport, "room", {
    state: { name: "bob" },
    memberId: "2",
    ...quick,
  });
  await until(() => names(bob) === "ada,bob");
  const seen: string[] = [];
  void (async () => {
    for await (const { type, member } of bob.changes()) seen.push(`${type} ${member.id}`);
  })();
  wire.off();
  await sleep(20);
  wire.on();
  await until(() => ada.status.current === "connected" && wire.streams > 1);
  await sleep(1200);
  assert.deepEqual([names(bob), seen], ["ada,bob", []], "it came back in time");
  wire.off();
  await until(() => names(bob) === "bob");
  assert.equal(names(ada), "ada,bob", "it does not know that it is lost");
  wire.on();
  await until(() => names(bob) === "ada,bob");
  assert.deepEqual(seen, ["leave 1", "join 1"]);
});

test("a member that goes to another server stays, and one whose server is lost as well", async () => {
  await using at = await openSeveral({ count: 2, config: { gossip: { ...quick, memberGraceMs: 1000 } } });
  const [one, two] = at.servers;
  const wire = switchedTransport(one?.transport ?? assert.fail());
  await using ada = await openPresence<State>(wire, "room", { state: { name: "ada" }, ...quick });
  await using bob = await openPresence<State>(two?.transport ?? assert.fail(), "room", {
    state: { name: "bob" },
    ...quick,
  });
  const seen: string[] = [];
  await until(() => names(bob).length === 7 && names(ada).length === 7);
  void (async () => {
    for await (const { type } of bob.changes()) seen.push(type);
  })();
  wire.off();
  await sleep(20);
  wire.on(two?.transport);
  await until(() => ada.status.current === "connected" && wire.streams > 1);
  await sleep(1300);
  assert.deepEqual(seen, [], "the first server did not remove what was renewed at the second one");
  await one?.close();
  await sleep(100);
  assert.equal(bob.members.length, 2);
});

test("two streams with the same member id are one member: it is here until both have ended", async () => {
  await using at = await openInProcess({ config });
  const first = switchedTransport(at.transport);
  const second = switchedTransport(at.transport);
  await using bob = await openPresence<State>(at.transport, "room", {
    state: { name: "bob" },
    memberId: "2",
    ...quick,
  });
  const options = { state: { name: "ada" }, memberId: "1", ...quick };
  await using one = await openPresence<State>(first, "room", options);
  await using two = await openPresence<State>(second, "room", options);
  await until(() => names(bob) === "ada,bob");
  first.off();
  await sleep(500);
  assert.equal(names(bob), "ada,bob");
  second.off();
  await until(() => names(bob) === "bob");
  assert.ok(one.members[0]?.isSelf && two.members[0]?.isSelf);
});

test("an ephemeral entry is one of a gossip map: others may replace or remove it, and it is not renewed then", async () => {
  await using at = await openInProcess({ config });
  const wire = switchedTransport(at.transport);
  const ada = await openGossipMap<string>(wire, "m", quick);
  await using bob = await openGossipMap<string>(at.transport, "m", quick);
  ada.set("replaced", "ada", { ephemeral: true });
  ada.set("removed", "ada", { ephemeral: true });
  ada.set("kept", "ada", { ephemeral: true });
  ada.set("stays", "ada");
  await until(() => bob.size === 4);
  bob.set("replaced", "bob");
  bob.delete("removed");
  await until(() => ada.size === 3 && ada.get("replaced") === "bob");
  wire.off();
  await until(() => bob.size === 2);
  assert.deepEqual(
    [...bob],
    [
      ["replaced", "bob"],
      ["stays", "ada"],
    ],
  );
  wire.on();
  await until(() => bob.size === 3);
  assert.deepEqual([...bob.keys()], ["kept", "replaced", "stays"]);
  await ada.close();
  await until(() => bob.size === 2);
});

test("what is no state, and options that exclude each other, are refused by name", async () => {
  await using at = await openInProcess({ config });
  await using map = await openGossipMap<string>(at.transport, "m", quick);
  assert.throws(
    () => map.set("k", "v", { ephemeral: true, ttlMs: 5 }),
    /^TypeError: Cannot set "k" in gossip map "m": ephemeral and ttlMs must not be set together, got ttlMs 5$/,
  );
  assert.throws(
    () => map.set("k", "v", { ephemeral: "yes" as never }),
    /ephemeral must be of type boolean, got "yes"/,
  );
  await assert.rejects(
    openPresence(at.transport, "r", { state: "ada" as never }),
    /presence "r": state must be of type object/,
  );
  await assert.rejects(openPresence(at.transport, ""), RangeError);
  await using room = await openPresence(at.transport, "r", quick);
  assert.throws(
    () => room.set(null as never),
    /Cannot set the state in presence "r": state must be of type object, got null/,
  );
  assert.deepEqual(room.members[0]?.state, {});
});
