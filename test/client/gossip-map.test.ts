import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError, createRouterTransport, type Transport } from "@connectrpc/connect";
import { test } from "vitest";
import { z } from "zod";
import { GossipMapService, type Message } from "../../gen/atomix/map/map_pb.js";
import { bytes, json, SchemaError, text } from "../../src/client/codec.js";
import { unreadableFacts } from "../../src/client/errors.js";
import { type GossipChange, type GossipMap, openGossipMap } from "../../src/client/gossip-map.js";
import { clockOf } from "../../src/gossip/clock.js";
import { type Engine, EngineFault, type KeyStore } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { forEachProtocol, openInProcess } from "../support/protocols.js";
import { advertises, clock, rawMember, updates } from "../support/raw-member.js";

/** Polls until `holds` returns true. */
async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await holds()); tries++) {
    assert.ok(tries < 1000, `still false: ${holds}`);
    await sleep(5);
  }
}

/** The contents of a map. */
const contents = <V>(map: GossipMap<V>): Record<string, V> => Object.fromEntries(map);

/** A transport that can be cut: streams break, and new ones fail until it is restored. */
function fragile(transport: Transport) {
  let cutting = new AbortController();
  const seen: Message[] = [];
  const wire: Transport & { cut(): void; mend(to?: Transport): void; seen: Message[] } = {
    unary: (...args) => transport.unary(...args),
    async stream(method, signal, timeoutMs, header, input, values) {
      cutting.signal.throwIfAborted();
      const either = AbortSignal.any([cutting.signal, ...(signal ? [signal] : [])]);
      const watched = async function* () {
        for await (const message of input) {
          seen.push(message as Message);
          yield message;
        }
      };
      return transport.stream(method, either, timeoutMs, header, watched(), values);
    },
    cut: () => cutting.abort(new ConnectError("the line was cut", Code.Unavailable)),
    mend(to = transport) {
      transport = to;
      cutting = new AbortController();
    },
    /** The messages of the clients. */
    seen,
  };
  return wire;
}

/** A memory engine that is not closed with its servers, with some of its key methods replaced. */
function kept(replace: (keys: KeyStore) => Partial<KeyStore> = () => ({})): Engine {
  const engine = memoryEngine();
  const { keys } = engine;
  const own: KeyStore = {
    get: (key) => keys.get(key),
    getMany: (all) => keys.getMany(all),
    commit: (writes) => keys.commit(writes),
    list: (prefix, after) => keys.list(prefix, after),
    watch: (prefix, signal) => keys.watch(prefix, signal),
  };
  const close = async () => {};
  return { ...engine, keys: { ...own, ...replace(own) }, close, [Symbol.asyncDispose]: close };
}

forEachProtocol("duplex", (open) => {
  test("all members see what one sets, changes and deletes", async () => {
    await using at = await open();
    await using ada = await openGossipMap<number>(at.transport, "presence");
    ada.set("a", 1);
    await ada.synced();
    await using bob = await openGossipMap<number>(at.transport, "presence");
    assert.equal(bob.get("a"), 1, "openGossipMap() resolves with everything that there is");
    await using eve = await openGossipMap<number>(at.transport, "presence");
    const changes = eve.changes()[Symbol.asyncIterator]();
    const next = async () => (await changes.next()).value as GossipChange<number>;
    ada.set("a", 2);
    assert.deepEqual(await next(), { type: "update", key: "a", value: 2, previous: 1, local: false });
    bob.set("ключ || 钥匙 🔑", 3);
    assert.deepEqual(await next(), { type: "insert", key: "ключ || 钥匙 🔑", value: 3, local: false });
    await eventually(() => bob.get("a") === 2);
    assert.equal(bob.delete("a"), true);
    assert.deepEqual(await next(), { type: "remove", key: "a", previous: 2, local: false });
    eve.set("e", 4);
    assert.deepEqual(await next(), { type: "insert", key: "e", value: 4, local: true });
    await eve.synced();
    for (const map of [ada, bob, eve]) {
      await eventually(() => map.size === 2 && map.has("e"));
      assert.deepEqual(contents(map), { "ключ || 钥匙 🔑": 3, e: 4 });
    }
    await changes.return?.();
  });
});

test("reads and writes are local and immediate", async () => {
  await using at = await openInProcess();
  await using map = await openGossipMap<number>(at.transport, "m", { flushMs: 10_000 });
  map.set("b", 2);
  map.set("a", 1);
  map.set("c", 3);
  assert.deepEqual([...map.keys()], ["a", "b", "c"]);
  assert.deepEqual(
    [...map.entries()],
    [
      ["a", 1],
      ["b", 2],
      ["c", 3],
    ],
  );
  assert.deepEqual([map.size, map.has("a"), map.has("x"), map.get("x")], [3, true, false, undefined]);
  assert.equal(map.delete("x"), false);
  assert.equal(map.delete("b"), true);
  assert.deepEqual(
    [...map],
    [
      ["a", 1],
      ["c", 3],
    ],
  );
  map.clear();
  assert.deepEqual([map.size, [...map]], [0, []]);
  map.set("a", 9);
  assert.equal(map.size, 1);
});

test("a value does not change with the object that was set, and get() returns the same object until it changes", async () => {
  await using at = await openInProcess();
  await using map = await openGossipMap<{ n: number }>(at.transport, "m");
  const value = { n: 1 };
  map.set("k", value);
  value.n = 2;
  assert.deepEqual(map.get("k"), { n: 1 });
  assert.equal(map.get("k"), map.get("k"));
  await using raw = await openGossipMap(at.transport, "raw", { codec: bytes() });
  const own = new Uint8Array([1]);
  raw.set("k", own);
  own[0] = 2;
  assert.equal(raw.get("k")?.[0], 1);
});

test("a value that servers refuse is refused by set(), so that it does not block the others", async () => {
  await using at = await openInProcess();
  await using map = await openGossipMap(at.transport, "m", { codec: text() });
  assert.throws(() => map.set("", "v"), RangeError);
  assert.throws(() => map.set("k".repeat(1025), "v"), RangeError);
  assert.throws(() => map.set("\ud83d", "v"), TypeError);
  assert.throws(() => map.set("k", "v".repeat(4 * 1024 ** 2 - 16 * 1024 + 1)), RangeError);
  map.set("🔑".repeat(256), "v".repeat(4 * 1024 ** 2 - 16 * 1024));
  map.set("__proto__", "v");
  await map.synced();
  await using other = await openGossipMap(at.transport, "m", { codec: text() });
  assert.deepEqual([other.size, other.get("__proto__")], [2, "v"]);
});

test("changes of both sides during a partition are the same on both afterwards", async () => {
  await using at = await openInProcess();
  const wire = fragile(at.transport);
  await using ada = await openGossipMap<string>(wire, "m", { codec: text() });
  await using bob = await openGossipMap<string>(at.transport, "m", { codec: text() });
  for (const key of ["kept", "removed by ada", "removed by bob", "by both"]) ada.set(key, "old");
  await ada.synced();
  await eventually(() => bob.size === 4);
  wire.cut();
  await eventually(() => !ada.connected);
  ada.set("by ada", "1");
  ada.delete("removed by ada");
  ada.set("by both", "ada");
  bob.set("by bob", "2");
  bob.delete("removed by bob");
  await sleep(2);
  bob.set("by both", "bob");
  wire.mend();
  await ada.synced();
  await bob.synced();
  const both = { kept: "old", "by ada": "1", "by bob": "2", "by both": "bob" };
  await eventually(() => ada.size === 4 && bob.size === 4);
  assert.deepEqual([contents(ada), contents(bob)], [both, both]);
  assert.equal(ada.connected, true);
});

test("a server that lost its data gets it back from the members", async () => {
  const first = await openInProcess();
  await using second = await openInProcess();
  const wire = fragile(first.transport);
  await using ada = await openGossipMap<number>(wire, "m");
  ada.set("a", 1);
  await ada.synced();
  wire.mend(second.transport);
  await first.server.close();
  ada.set("b", 2);
  await ada.synced();
  await using bob = await openGossipMap<number>(second.transport, "m");
  assert.deepEqual(contents(bob), { a: 1, b: 2 });
});

test("a restarted server with the same engine has the same map", async () => {
  const engine = kept();
  const first = await openInProcess({ engine });
  const ada = await openGossipMap<number>(first.transport, "m");
  for (let i = 0; i < 250; i++) ada.set(`k${i}`, i);
  ada.delete("k7");
  await ada.close();
  await first.server.close();
  await using second = await openInProcess({ engine });
  await using bob = await openGossipMap<number>(second.transport, "m");
  assert.deepEqual([bob.size, bob.get("k8"), bob.has("k7")], [249, 8, false]);
});

test("servers that share an engine update each other's members, and the engine keeps the newest entries", async () => {
  let turn = 0;
  const engine = kept((keys) => ({
    // As over a network, commits overtake each other.
    commit: async (writes) => {
      await sleep(turn++ % 3);
      return keys.commit(writes);
    },
  }));
  await using one = await openInProcess({ engine });
  await using two = await openInProcess({ engine });
  await using ada = await openGossipMap<string>(one.transport, "m", { flushMs: 1 });
  await using bob = await openGossipMap<string>(two.transport, "m", { flushMs: 1 });
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 20; i++) {
      ada.set(`k${i}`, `ada ${round}`);
      bob.set(`k${(i * 7) % 20}`, `bob ${round}`);
    }
    await sleep(2);
  }
  await Promise.all([ada.synced(), bob.synced()]);
  await eventually(() => JSON.stringify([...ada]) === JSON.stringify([...bob]));
  assert.equal(ada.size, 20);
  await using three = await openInProcess({ engine });
  await using late = await openGossipMap<string>(three.transport, "m");
  assert.deepEqual(contents(late), contents(bob));
});

test("a member does not receive its own entries", async () => {
  await using at = await openInProcess({ config: { gossip: { flushMs: 1 } } });
  await using one = rawMember(at.transport, "m");
  await using two = rawMember(at.transport, "m");
  for (const member of [one, two]) {
    member.advertise({});
    await member.until(advertises);
  }
  one.update({ mine: ["1", 1] });
  await two.until(updates("mine"));
  two.update({ other: ["2", 2] });
  const { message } = await one.until(({ message }) => message.case === "update");
  assert.deepEqual(message.case === "update" && Object.keys(message.value.updates), ["other"]);
});

test("members reconnect to a map whose engine was closed for a while", async () => {
  let watches = 0;
  let lose: ((error: Error) => void) | undefined;
  const engine = kept((keys) => ({
    watch: async function* (prefix, signal) {
      watches++;
      const lost = new Promise<never>((_, reject) => {
        lose = reject;
      });
      const changes = keys.watch(prefix, signal)[Symbol.asyncIterator]();
      while (true) {
        const { value, done } = await Promise.race([changes.next(), lost]);
        if (done) return;
        yield value;
      }
    },
  }));
  await using at = await openInProcess({ engine });
  await using ada = await openGossipMap<number>(at.transport, "m");
  ada.set("a", 1);
  await ada.synced();
  lose?.(new EngineFault("unavailable", "the network is down"));
  await eventually(() => watches === 2);
  ada.set("b", 2);
  await ada.synced();
  await using bob = await openGossipMap<number>(at.transport, "m");
  assert.deepEqual(contents(bob), { a: 1, b: 2 });
});

test("64 members that write the same keys concurrently converge", async () => {
  await using at = await openInProcess();
  const open = () => openGossipMap<number>(at.transport, "m");
  const members = await Promise.all(Array.from({ length: 64 }, open));
  for (const [i, member] of members.entries()) {
    for (const key of ["a", "b", `own ${i}`]) member.set(key, i);
    if (i % 3 === 0) member.delete("b");
  }
  await Promise.all(members.map((member) => member.synced()));
  await eventually(() => new Set(members.map((member) => JSON.stringify([...member]))).size === 1);
  assert.ok((members[0]?.size ?? 0) >= 65);
  await Promise.all(members.map((member) => member.close()));
});

test("a delayed value of a third member does not bring a removed key back", async () => {
  await using at = await openInProcess();
  const wire = fragile(at.transport);
  wire.cut();
  await using stale = await openGossipMap<string>(wire, "m", { offline: true });
  stale.set("k", "stale");
  await sleep(2);
  await using ada = await openGossipMap<string>(at.transport, "m");
  ada.set("k", "new");
  ada.delete("k");
  await ada.synced();
  assert.equal(stale.get("k"), "stale");
  wire.mend();
  await stale.synced();
  assert.deepEqual([stale.has("k"), ada.has("k")], [false, false]);
});

test("what differs among thousands of keys is found by hashes, and a map without changes sends no messages", async () => {
  await using at = await openInProcess({ config: { gossip: { antiEntropyMs: 10, flushMs: 1 } } });
  const wire = fragile(at.transport);
  await using ada = await openGossipMap<number>(wire, "m", { antiEntropyMs: 10, flushMs: 1 });
  for (let i = 0; i < 3500; i++) ada.set(`k${i}`, i);
  await ada.synced();
  await using bob = await openGossipMap<number>(at.transport, "m", { antiEntropyMs: 10, flushMs: 1 });
  assert.equal(bob.size, 3500);
  wire.cut();
  await eventually(() => !ada.connected);
  bob.set("k1", -1);
  bob.delete("k2");
  bob.set("new", 0);
  ada.set("k3", -3);
  await bob.synced();
  wire.seen.length = 0;
  wire.mend();
  await ada.synced();
  await bob.synced();
  assert.deepEqual([ada.get("k1"), ada.has("k2"), ada.get("new"), ada.size], [-1, false, 0, 3500]);
  await eventually(() => bob.get("k3") === -3);
  const sizes = wire.seen.map(({ message }) =>
    message.case === "antiEntropyAdvertisement" ? Object.keys(message.value.digest).length : 0,
  );
  const compared = sizes.reduce((sum, size) => sum + size, 0);
  assert.ok(compared > 4 && compared < 100, `the digests of few keys: ${sizes}`);
  const sent = wire.seen.flatMap(({ message }) =>
    message.case === "update" ? [Object.keys(message.value.updates)] : [],
  );
  assert.deepEqual(sent, [["k3"]], "only what differed was sent");
  await eventually(async () => {
    wire.seen.length = 0;
    await sleep(100);
    return wire.seen.length === 0;
  });
});

test("a peer like the Go implementation takes part", async () => {
  await using at = await openInProcess();
  await using ada = await openGossipMap<string>(at.transport, "m", { codec: text() });
  await using go = rawMember(at.transport, "m");
  go.update({ foo: ["bar", 5] });
  await eventually(() => ada.get("foo") === "bar");
  // A heartbeat changes only clocks.
  go.send({ case: "update", value: { updates: {}, timestamp: clock(9) } });

  ada.set("foo", "baz");
  const told = await go.until(updates("foo"));
  assert.ok(told.source.startsWith("fairlead-"), told.source);
  assert.deepEqual([told.target?.namespace, told.target?.name], ["default", "m"]);
  const entry = told.message.case === "update" ? told.message.value.updates["foo"] : undefined;
  assert.equal(Buffer.from(entry?.value ?? []).toString(), "baz");
  const now = clockOf(entry?.digest?.timestamp ?? new Uint8Array()) ?? 0n;
  assert.ok(now >> 16n > 1_700_000_000_000n, "what it decodes from the first 8 bytes is the clock");

  go.update({ foo: [null, now + 1n], other: ["x", now + 2n] });
  await eventually(() => !ada.has("foo") && ada.get("other") === "x");

  // It advertises all its keys in one message: it gets what it lacks, and requests for what it has.
  ada.set("mine", "1");
  await ada.synced();
  go.advertise({ other: now + 2n, its: now + 3n });
  const asked = await go.until(({ message }) => message.case === "updateRequest");
  assert.deepEqual(asked.message.case === "updateRequest" && asked.message.value.keys, ["its"]);
  await go.until(updates("foo"));
  go.update({ its: ["2", now + 3n] });
  await eventually(() => ada.get("its") === "2");
});

test("a message with the digests of more keys than a chunk is a complete round", async () => {
  await using at = await openInProcess();
  await using ada = await openGossipMap<string>(at.transport, "m", { codec: text() });
  await using go = rawMember(at.transport, "m");
  const keys = Array.from({ length: 1500 }, (_, i) => `k${i}`);
  go.update(Object.fromEntries(keys.map((key) => [key, ["v", 1]])));
  await eventually(() => ada.size === 1500);
  ada.set("zz", "z");
  await ada.synced();
  await go.until(updates("zz"));
  go.advertise(Object.fromEntries(keys.map((key) => [key, 1])));
  await go.until(updates("zz"));
});

test("two values with the same timestamp converge to one", async () => {
  await using at = await openInProcess();
  await using ada = await openGossipMap<string>(at.transport, "m", { codec: text() });
  await using one = rawMember(at.transport, "m");
  await using two = rawMember(at.transport, "m");
  one.update({ k: ["a", 5], t: [null, 5] });
  await eventually(() => ada.get("k") === "a");
  two.update({ k: ["b", 5], t: ["live", 5] });
  await eventually(() => ada.get("k") === "b");
  one.update({ k: ["a", 5] });
  const told = await one.until(updates("k"));
  const { value } = (told.message.case === "update" && told.message.value.updates["k"]) || {};
  assert.equal(Buffer.from(value ?? []).toString(), "b");
  assert.equal(ada.has("t"), false, "a tombstone wins over a value");
});

/** A server like the Go implementation: strictly newer wins, only advertised keys are compared, digests come periodically. */
function goServer(everyMs: number) {
  type Held = { value: string | null; at: bigint };
  const held = new Map<string, Held>();
  let time = 0n;
  const entry = ({ value, at }: Held) => ({
    digest: { timestamp: clock(at), tombstone: value === null },
    ...(value !== null && { value: Buffer.from(value) }),
  });
  const transport = createRouterTransport(({ service }) => {
    service(GossipMapService, {
      async *connect(messages, { signal }) {
        const out: Message["message"][] = [];
        let target: Message["target"];
        let over = false;
        const left = () => {
          over = true;
        };
        const push = (key: string) => {
          const mine = held.get(key);
          if (mine) out.push({ case: "update", value: { updates: { [key]: entry(mine) } } as never });
        };
        void (async () => {
          for await (const { message, target: theirs } of messages) {
            target = theirs;
            const seen = clockOf(message.value?.timestamp ?? new Uint8Array()) ?? 0n;
            time = seen > time ? seen : time + 1n;
            if (message.case === "update") {
              for (const [key, { digest, value }] of Object.entries(message.value.updates)) {
                const at = clockOf(digest?.timestamp.subarray(0, 8) ?? new Uint8Array()) ?? 0n;
                const mine = held.get(key);
                const newer = mine ? at > mine.at : !digest?.tombstone;
                if (newer)
                  held.set(key, { value: digest?.tombstone ? null : Buffer.from(value).toString(), at });
              }
            } else if (message.case === "updateRequest") {
              for (const key of message.value.keys) push(key);
            } else if (message.case === "antiEntropyAdvertisement") {
              const keys: string[] = [];
              for (const [key, { timestamp }] of Object.entries(message.value.digest)) {
                const at = clockOf(timestamp.subarray(0, 8)) ?? 0n;
                const mine = held.get(key);
                if (!mine || mine.at < at) keys.push(key);
                else if (mine.at > at) push(key);
              }
              out.push({ case: "updateRequest", value: { keys, timestamp: clock(time) } as never });
            }
          }
        })().then(left, left);
        while (!signal.aborted && !over) {
          await sleep(everyMs);
          if (!target) continue;
          const digest = Object.fromEntries([...held].map(([key, each]) => [key, entry(each).digest]));
          const timestamp = clock(time);
          for (const message of out.splice(0)) yield { source: "go", target, message };
          yield { source: "go", target, message: { case: "update", value: { timestamp } } } as never;
          const value = { digest, timestamp };
          yield { source: "go", target, message: { case: "antiEntropyAdvertisement", value } } as never;
        }
      },
    });
  });
  const set = (key: string, value: string | null) => held.set(key, { value, at: ++time });
  return { transport, set, get: (key: string) => held.get(key)?.value };
}

test("a server like the Go implementation is sufficient", async () => {
  const go = goServer(10);
  go.set("a", "1");
  go.set("b", "2");
  await using map = await openGossipMap<string>(go.transport, "m", { codec: text(), antiEntropyMs: 20 });
  assert.deepEqual(contents(map), { a: "1", b: "2" });
  map.set("a", "mine");
  map.set("c", "3");
  await map.synced();
  assert.deepEqual([go.get("a"), go.get("c")], ["mine", "3"]);
  go.set("b", null);
  go.set("d", "4");
  await eventually(() => map.get("d") === "4" && !map.has("b"));
});

test("one stream may carry many maps, and each gets only its own entries", async () => {
  await using at = await openInProcess();
  await using one = await openGossipMap<string>(at.transport, "one", { codec: text() });
  await using two = await openGossipMap<string>(at.transport, "two", { namespace: "n", codec: text() });
  await using raw = rawMember(at.transport, "one");
  raw.update({ k: ["in one", 1] });
  const updateOf = (value: string) => ({
    updates: { k: { digest: { timestamp: clock(1) }, value: Buffer.from(value) } },
  });
  raw.send({ case: "update", value: updateOf("in two") }, { target: { namespace: "n", name: "two" } });
  await eventually(() => one.has("k") && two.has("k"));
  assert.deepEqual([one.get("k"), two.get("k")], ["in one", "in two"]);
  two.set("k2", "v");
  assert.equal((await raw.until(updates("k2"))).target?.name, "two");
});

test("a member that does not read costs one pending entry for each key, and gets the newest", async () => {
  await using at = await openInProcess({ config: { gossip: { flushMs: 1 } } });
  await using ada = await openGossipMap<number>(at.transport, "m", { flushMs: 1 });
  await using lazy = rawMember(at.transport, "m", { lazy: true });
  lazy.advertise({});
  await using witness = rawMember(at.transport, "m");
  witness.advertise({});
  for (let round = 0; round < 40; round++) {
    for (let i = 0; i < 200; i++) ada.set(`k${i}`, round);
    await ada.synced();
  }
  ada.set("last", 0);
  let entries = 0;
  const newest = new Map<string, string>();
  const count = (message: Message) => {
    if (message.message.case !== "update") return;
    for (const [key, { value }] of Object.entries(message.message.value.updates)) {
      entries++;
      newest.set(key, Buffer.from(value).toString());
    }
  };
  await lazy.until((message) => {
    count(message);
    return updates("last")(message);
  });
  assert.equal(newest.get("k199"), "39");
  // The stream itself holds a few messages.
  assert.ok(entries <= 10 * 201, `${entries} of ${40 * 200} entries`);
});

test("openGossipMap() rejects if the server cannot be reached, unless `offline` is true", async () => {
  const at = await openInProcess();
  const wire = fragile(at.transport);
  wire.cut();
  await assert.rejects(openGossipMap(wire, "m"), { code: Code.Unavailable });
  await using map = await openGossipMap<number>(wire, "m", { offline: true });
  assert.equal(map.connected, false);
  map.set("a", 1);
  const synced = map.synced();
  wire.mend();
  await synced;
  assert.equal(map.connected, true);
  await using other = await openGossipMap<number>(at.transport, "m");
  assert.deepEqual(contents(other), { a: 1 });
  await at.server.close();
  await eventually(() => !map.connected);
  assert.deepEqual(contents(map), { a: 1 });
});

test("waits end at their signal and their deadline", async () => {
  const silent = createRouterTransport(({ service }) => {
    service(GossipMapService, {
      async *connect(messages, { signal }) {
        for await (const _ of messages);
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        yield* [];
      },
    });
  });
  await assert.rejects(openGossipMap(silent, "m", { timeoutMs: 20 }), {
    code: Code.DeadlineExceeded,
    rawMessage: 'Cannot open gossip map "m": not done after 20 ms',
  });
  await assert.rejects(openGossipMap(silent, "m", { signal: AbortSignal.timeout(20) }), {
    code: Code.Canceled,
  });
  await assert.rejects(openGossipMap(silent, "m", { signal: AbortSignal.abort() }), { code: Code.Canceled });
  await using map = await openGossipMap(silent, "m", { offline: true });
  map.set("a", 1);
  await assert.rejects(map.synced({ timeoutMs: 20 }), { code: Code.DeadlineExceeded });
  await assert.rejects(map.synced({ signal: AbortSignal.timeout(20) }), { code: Code.Canceled });
  const given = map.synced();
  await map.close();
  await assert.rejects(given, { code: Code.Canceled });
  await assert.rejects(map.synced(), { code: Code.Canceled });
});

test("close() sends pending entries, ends changes(), and is idempotent", async () => {
  await using at = await openInProcess();
  const ada = await openGossipMap<number>(at.transport, "m", { flushMs: 60_000 });
  const loop = (async () => {
    const seen: string[] = [];
    for await (const { key } of ada.changes()) seen.push(key);
    return seen;
  })();
  ada.set("a", 1);
  await ada.close();
  await ada.close();
  assert.deepEqual(await loop, ["a"]);
  assert.equal(ada.get("a"), 1);
  assert.throws(() => ada.set("a", 2), /is closed/);
  assert.throws(() => ada.delete("a"), /is closed/);
  for await (const _ of ada.changes()) assert.fail("there are no changes any more");
  await using bob = await openGossipMap<number>(at.transport, "m");
  assert.deepEqual(contents(bob), { a: 1 });
});

test("aborting the signal of openGossipMap() closes the map", async () => {
  await using at = await openInProcess();
  const given = new AbortController();
  const map = await openGossipMap<number>(at.transport, "m", { signal: given.signal });
  given.abort();
  assert.throws(() => map.set("a", 1), /is closed/);
  await map.close();
});

test("changes() yields the differences since the last step, from the call on", async () => {
  await using at = await openInProcess();
  await using map = await openGossipMap<number>(at.transport, "m");
  map.set("before", 0);
  const changes = map.changes();
  map.set("a", 1);
  map.set("b", 1);
  map.set("a", 2);
  map.set("brief", 1);
  map.delete("brief");
  map.delete("before");
  const seen: GossipChange<number>[] = [];
  for await (const change of changes) {
    seen.push(change);
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen, [
    { type: "insert", key: "a", value: 2, local: true },
    { type: "insert", key: "b", value: 1, local: true },
    { type: "remove", key: "before", previous: 0, local: true },
  ]);
  const given = new AbortController();
  setTimeout(() => given.abort(), 10);
  const waiting = (async () => {
    for await (const _ of map.changes({ signal: given.signal }));
  })();
  await assert.rejects(waiting, { code: Code.Canceled });
});

test("a value that the codec cannot decode affects no other", async () => {
  await using at = await openInProcess();
  const schema = z.object({ age: z.number() });
  await using people = await openGossipMap(at.transport, "m", { schema });
  assert.throws(() => people.set("bob", { age: "?" } as never), SchemaError);
  const changes = people.changes()[Symbol.asyncIterator]();
  await using other = await openGossipMap<unknown>(at.transport, "m", { codec: json() });
  other.set("ada", { age: "old" });
  const { value: change } = await changes.next();
  assert.equal(change?.type, "insert");
  for (const read of [() => change.type === "insert" && change.value, () => people.get("ada")]) {
    assert.throws(read, (error) => {
      assert.ok(error instanceof ConnectError && error.code === Code.DataLoss);
      assert.ok(error.cause instanceof SchemaError);
      const { bytes, ...where } = unreadableFacts(error) ?? assert.fail("no facts");
      assert.equal(Buffer.from(bytes).toString(), '{"age":"old"}');
      assert.deepEqual(where, { map: "m", key: "ada" });
      return true;
    });
  }
  people.set("eve", { age: 7 });
  assert.deepEqual(
    [people.size, [...people.keys()], contents(people)],
    [2, ["ada", "eve"], { eve: { age: 7 } }],
  );
  people.set("ada", { age: 36 });
  const { value: eve } = await changes.next();
  const { value: ada } = await changes.next();
  assert.deepEqual(eve, { type: "insert", key: "eve", local: true, value: { age: 7 } });
  assert.deepEqual(ada, { type: "update", key: "ada", local: true, value: { age: 36 }, previous: undefined });
  await eventually(() => (other.get("ada") as { age: unknown }).age === 36);
});

test("a full map refuses more with resource_exhausted, backs off, and takes it when there is room", async () => {
  await using at = await openInProcess({ config: { limits: { gossipBytes: 100 } } });
  let streams = 0;
  const counting: Transport = {
    unary: (...args) => at.transport.unary(...args),
    stream: (...args) => {
      streams++;
      return at.transport.stream(...args);
    },
  };
  await using ada = await openGossipMap(counting, "m", { codec: text() });
  const value = "v".repeat(40);
  ada.set("a", value);
  ada.set("b", value);
  await ada.synced();
  ada.set("c", value);
  await assert.rejects(ada.synced(), { code: Code.ResourceExhausted, rawMessage: /gossipBytes 100/ });
  assert.equal(ada.size, 3);
  await sleep(100);
  assert.ok(streams < 10, `it tried ${streams} times`);
  await using bob = await openGossipMap(at.transport, "m", { codec: text() });
  bob.delete("a");
  await eventually(() => bob.has("c") && !ada.has("a"));
  await ada.synced();
});

test("a permanent refusal of the server rejects the waits, and is not retried", async () => {
  await using at = await openInProcess();
  const wire = fragile(at.transport);
  await assert.rejects(openGossipMap(wire, "m", { memberId: "a\u0000b" }), { code: Code.InvalidArgument });
  await using map = await openGossipMap<number>(wire, "m", { memberId: "a\u0000b", offline: true });
  map.set("a", 1);
  const told = (async () => {
    for await (const _ of map.changes());
  })();
  await assert.rejects(map.synced(), { code: Code.InvalidArgument });
  await assert.rejects(told, { code: Code.InvalidArgument });
  await assert.rejects(map.synced(), { code: Code.InvalidArgument });
  assert.equal(map.get("a"), 1);
  wire.seen.length = 0;
  await sleep(150);
  assert.equal(wire.seen.length, 0);
});

test("the server frees the map when the last member leaves", async () => {
  const watches: AbortSignal[] = [];
  const engine = kept((keys) => ({
    watch: (prefix, signal) => {
      if (prefix.startsWith("gossip\0")) watches.push(signal);
      return keys.watch(prefix, signal);
    },
  }));
  await using at = await openInProcess({ engine });
  const ada = await openGossipMap<number>(at.transport, "m");
  const bob = await openGossipMap<number>(at.transport, "m");
  ada.set("a", 1);
  await ada.close();
  await sleep(10);
  assert.deepEqual(
    watches.map(({ aborted }) => aborted),
    [false],
  );
  await bob.close();
  await eventually(() => watches[0]?.aborted === true);
  await using eve = await openGossipMap<number>(at.transport, "m");
  assert.deepEqual(contents(eve), { a: 1 });
  assert.equal(watches.length, 2);
});

test("tombstones are removed when they are old and all members have them, not before", async () => {
  const engine = memoryEngine();
  const config = { gossip: { tombstoneMs: 30, antiEntropyMs: 10, flushMs: 1, idleMs: 20 } };
  await using at = await openInProcess({ engine, config });
  const left = async () => {
    const keys: string[] = [];
    for await (const { key } of engine.keys.list("gossip\0")) keys.push(key.split("\0")[3] ?? "");
    return keys;
  };
  await using ada = await openGossipMap<number>(at.transport, "m", { tombstoneMs: 30, antiEntropyMs: 10 });
  // It advertises its own keys, and never confirms an entry.
  const deaf = rawMember(at.transport, "m", { lazy: true });
  deaf.advertise({});
  ada.set("kept", 1);
  for (let i = 0; i < 10; i++) ada.set(`k${i}`, i);
  await ada.synced();
  ada.clear();
  ada.set("kept", 2);
  await ada.synced();
  await sleep(150);
  assert.equal((await left()).length, 11);
  await deaf[Symbol.asyncDispose]();
  await eventually(async () => (await left()).length === 1);
  assert.deepEqual([await left(), contents(ada)], [["kept"], { kept: 2 }]);
  await using late = await openGossipMap<number>(at.transport, "m");
  assert.deepEqual(contents(late), { kept: 2 });
  await sleep(100);
  assert.deepEqual(await left(), ["kept"], "and members do not remind each other of them");
});

test("a peer that ends its half of the stream gets all entries, then the stream ends", async () => {
  await using at = await openInProcess();
  await using ada = await openGossipMap<number>(at.transport, "m");
  ada.set("a", 1);
  await ada.synced();
  await using raw = rawMember(at.transport, "m");
  raw.advertise({});
  raw.end();
  await raw.until(updates("a"));
  await raw.until(advertises);
  await raw.ended;
});
