import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { clockOf, MAX_AHEAD_MS } from "../../src/gossip/clock.js";
import { openGossipMap } from "../../src/gossip-map.js";
import { openHere } from "../doors.js";
import { advertises, clock, type RawMember, rawMember, updates } from "../raw-member.js";
import { failure } from "./failure.js";

const aheadOf = (ms: number) => BigInt(Date.now() + ms) << 16n;
const text = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString();

/** The entry for `key` in the next update that has one. */
async function entryOf(member: RawMember, key: string) {
  const { message } = await member.until(updates(key));
  assert.ok(message.case === "update");
  const { digest, value } = message.value.updates[key] ?? {};
  return {
    value: text(value),
    tombstone: digest?.tombstone,
    timestamp: digest?.timestamp ?? new Uint8Array(),
  };
}

/** The keys of the rest of a round of advertisements, chunk by chunk. */
async function chunks(member: RawMember): Promise<string[][]> {
  const all: string[][] = [];
  while ((all.at(-1)?.length ?? 1000) === 1000) {
    const { message } = await member.until(advertises);
    assert.ok(message.case === "antiEntropyAdvertisement");
    all.push(Object.keys(message.value.digest));
  }
  return all;
}

test("gossip timestamps: 8-byte big-endian clock, never behind the wall clock in ms · 2^16, then the member id", async () => {
  await using at = await openHere();
  await using raw = rawMember(at.transport, "m");
  raw.advertise({});
  await chunks(raw);
  await using ada = await openGossipMap(at.transport, "m", { memberId: "ada" });
  const before = BigInt(Date.now()) << 16n;
  ada.set("k", 1);
  const { timestamp } = await entryOf(raw, "k");
  const written = clockOf(timestamp.subarray(0, 8)) ?? 0n;
  assert.ok(written >= before && written < aheadOf(1000), `${written}`);
  assert.equal(text(timestamp.subarray(8)), "ada");
  // A clock that is ahead moves the others forward: what comes later is later for everyone.
  const ahead = aheadOf(60_000);
  raw.update({ k: ["2", ahead] });
  for await (const change of ada.changes()) if (change.type === "update" && change.value === 2) break;
  ada.set("k", 3);
  assert.equal(clockOf((await entryOf(raw, "k")).timestamp), ahead + 1n);
});

test("gossip timestamps: unsigned byte order is the total order, and a decoder of the first 8 bytes still works", async () => {
  await using at = await openHere();
  await using one = rawMember(at.transport, "m");
  await using two = rawMember(at.transport, "m");
  two.advertise({});
  await chunks(two);
  const send = (member: RawMember, value: string, timestamp: Uint8Array) =>
    member.send({
      case: "update",
      value: { updates: { k: { digest: { timestamp }, value: Buffer.from(value) } } },
    });
  const rising = [
    new Uint8Array(),
    clock(1),
    Uint8Array.of(...clock(1), 97),
    Uint8Array.of(...clock(1), 97, 0),
    Uint8Array.of(...clock(1), 0xff),
    clock(2),
    clock(0x7f),
    clock(0x80),
    clock(aheadOf(0)),
  ];
  for (const [i, timestamp] of rising.entries()) {
    send(one, `v${i}`, timestamp);
    assert.deepEqual((await entryOf(two, "k")).value, `v${i}`);
    const earlier = rising[i - 1];
    if (!earlier) continue;
    // What comes before in the order is answered with what comes after.
    send(two, "stale", earlier);
    assert.equal((await entryOf(two, "k")).value, `v${i}`);
  }
});

test("gossip repair: source is always set, and so is the target, on the stream that the peer opened", async () => {
  await using at = await openHere();
  await using raw = rawMember(at.transport, "m", { namespace: "group-1" });
  raw.advertise({ wanted: 5 });
  const seen: (string | undefined)[] = [];
  while (seen.at(-1) !== "antiEntropyAdvertisement") {
    const { source, target, message } = await raw.until(() => true);
    assert.match(source, /^fairlead-/);
    assert.deepEqual([target?.namespace, target?.name], ["group-1", "m"]);
    seen.push(message.case);
    if (message.case !== "updateRequest") continue;
    assert.deepEqual(message.value.keys, ["wanted"]);
    raw.update({ wanted: ["v", 5] });
  }
  assert.deepEqual(seen, ["updateRequest", "antiEntropyAdvertisement"]);
  raw.send({ case: "updateRequest", value: { keys: ["wanted", "nothing"] } });
  assert.equal((await entryOf(raw, "wanted")).value, "v");
});

test("gossip repair: tombstones are stored for unknown keys, so no third peer's stale value comes back", async () => {
  await using at = await openHere();
  await using one = rawMember(at.transport, "m");
  one.update({ k: [null, 6] });
  one.advertise({});
  assert.equal((await entryOf(one, "k")).tombstone, true);
  await using two = rawMember(at.transport, "m");
  two.update({ k: ["stale", 5] });
  const told = await entryOf(two, "k");
  assert.deepEqual([told.tombstone, told.value], [true, ""]);
  await using ada = await openGossipMap(at.transport, "m");
  assert.equal(ada.has("k"), false);
  two.advertise({ k: 5 });
  assert.equal((await entryOf(two, "k")).tombstone, true, "and it is not asked for again");
});

test("gossip repair: keys that are not advertised are pushed", async () => {
  await using at = await openHere();
  await using one = rawMember(at.transport, "m");
  one.update({ a: ["1", 1], b: ["2", 2], c: [null, 3] });
  one.send({ case: "updateRequest", value: { keys: ["a"] } });
  await one.until(updates("a"));
  await using two = rawMember(at.transport, "m");
  two.advertise({ a: 1 });
  const { message } = await two.until(updates("b"));
  assert.deepEqual(message.case === "update" && Object.keys(message.value.updates).sort(), ["b", "c"]);
});

test("gossip repair: advertisements come in chunks, and what one does not cover is not pushed", async () => {
  await using at = await openHere();
  await using one = rawMember(at.transport, "m");
  const keys = Array.from({ length: 2500 }, (_, i) => `k${String(i).padStart(4, "0")}`);
  one.update(Object.fromEntries(keys.map((key) => [key, ["v", 1]])));
  const digest = Object.fromEntries(keys.map((key) => [key, 1]));
  one.advertise(digest);
  const told = await chunks(one);
  assert.deepEqual(
    told.map(({ length }) => length),
    [1000, 1000, 500],
  );
  assert.deepEqual(told.flat(), keys);
  await using two = rawMember(at.transport, "m");
  // Two of the first 1001 keys are missing, and the second half is still to come.
  const most = keys.slice(0, 1002).filter((key) => key !== "k0003" && key !== "k0500");
  two.advertise(Object.fromEntries(most.map((key) => [key, 1])));
  const pushed: string[] = [];
  while (pushed.length < 2) {
    const { message } = await two.until(({ message }) => message.case === "update");
    if (message.case === "update") pushed.push(...Object.keys(message.value.updates));
  }
  assert.deepEqual(pushed.sort(), ["k0003", "k0500"]);
  two.advertise(Object.fromEntries(keys.slice(1002, 2400).map((key) => [key, 1])));
  while (pushed.length < 102) {
    const { message } = await two.until(({ message }) => message.case === "update");
    if (message.case === "update") pushed.push(...Object.keys(message.value.updates));
  }
  assert.deepEqual(pushed.slice(2).sort(), keys.slice(2400));
});

test("gossip repair: ties are broken, by the member id, then a tombstone over a value, then the value", async () => {
  await using at = await openHere();
  const outcome = async (key: string, timestamps: Uint8Array[], values: (string | null)[]) => {
    await using one = rawMember(at.transport, "m");
    await using two = rawMember(at.transport, "m");
    for (const member of [one, two]) {
      member.send({ case: "updateRequest", value: { keys: ["nothing"] } });
    }
    for (const [i, member] of [one, two].entries()) {
      const value = values[i] ?? null;
      const entry = {
        digest: { timestamp: timestamps[i] ?? new Uint8Array(), tombstone: value === null },
        ...(value !== null && { value: Buffer.from(value) }),
      };
      member.send({ case: "update", value: { updates: { [key]: entry } } });
    }
    await using ada = await openGossipMap(at.transport, "m", { codec: plain });
    await ada.synced();
    one.send({ case: "updateRequest", value: { keys: [key] } });
    const told = await entryOf(one, key);
    return told.tombstone ? null : told.value;
  };
  const [a, b] = [Uint8Array.of(...clock(5), 97), Uint8Array.of(...clock(5), 98)];
  assert.equal(await outcome("id", [a, b], ["z", "a"]), "a");
  assert.equal(await outcome("id, other way round", [b, a], ["a", "z"]), "a");
  assert.equal(await outcome("tombstone", [clock(5), clock(5)], ["z", null]), null);
  assert.equal(await outcome("tombstone first", [clock(5), clock(5)], [null, "z"]), null);
  assert.equal(await outcome("value", [clock(5), clock(5)], ["x", "y"]), "y");
  assert.equal(await outcome("value first", [clock(5), clock(5)], ["y", "x"]), "y");
});

const plain = {
  contentType: "text/plain",
  encode: (value: string) => Buffer.from(value),
  decode: (value: Uint8Array) => Buffer.from(value).toString(),
};

test("a required field is empty, an enum number or a number is out of range, a name is malformed: gossip messages name the field and the key", async () => {
  const update = (timestamp: Uint8Array, key = "k") =>
    ({ case: "update", value: { updates: { [key]: { digest: { timestamp } } } } }) as const;
  const cases: [field: string, send: (member: RawMember) => void][] = [
    ["source", (member) => member.send({ case: undefined }, { source: "" })],
    ["target", (member) => member.send({ case: undefined }, { target: undefined as never })],
    ["target.name", (member) => member.send({ case: undefined }, { target: { namespace: "n" } })],
    ["target.name", (member) => member.send({ case: undefined }, { target: { name: "a\u0000b" } })],
    [
      "target.namespace",
      (member) => member.send({ case: undefined }, { target: { name: "a", namespace: "\n" } }),
    ],
    ['update.updates[""]', (member) => member.send(update(clock(1), ""))],
    [
      'update.updates["k"].digest',
      (member) => member.send({ case: "update", value: { updates: { k: {} } } }),
    ],
    ['update.updates["k"].digest.timestamp', (member) => member.send(update(new Uint8Array(7)))],
    [
      'update.updates["k"].digest.timestamp',
      (member) => member.send(update(clock(aheadOf(MAX_AHEAD_MS + 60_000)))),
    ],
    [
      "update.timestamp",
      (member) => member.send({ case: "update", value: { timestamp: clock(2n ** 64n - 1n) } }),
    ],
    [
      'anti_entropy_advertisement.digest["k"].timestamp',
      (member) => member.advertise({ k: aheadOf(MAX_AHEAD_MS + 60_000) }),
    ],
    ["update_request.keys[0]", (member) => member.send({ case: "updateRequest", value: { keys: [""] } })],
  ];
  await using at = await openHere();
  for (const [field, send] of cases) {
    await using member = rawMember(at.transport, "m");
    send(member);
    const error = await failure(member.ended);
    assert.equal(error.code, Code.InvalidArgument, error.message);
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, field);
  }
  await using ada = await openGossipMap(at.transport, "m");
  assert.equal(ada.size, 0);
  await using honest = rawMember(at.transport, "m");
  honest.update({ k: ["v", aheadOf(MAX_AHEAD_MS - 60_000)] });
  honest.send({ case: "updateRequest", value: { keys: ["k"] } });
  assert.equal((await entryOf(honest, "k")).value, "v", "a clock that is a little off is put up with");
});

test("a limit is hit (message, key or value size, open streams, rate): the limits of gossip maps are named", async () => {
  const limits = { gossipMaps: 2, gossipEntries: 3, gossipBytes: 100, keyBytes: 10, valueBytes: 60 };
  await using at = await openHere({ config: { limits } });
  const refusal = async (send: (member: RawMember) => void, name = "m") => {
    await using member = rawMember(at.transport, name);
    send(member);
    const error = await failure(member.ended);
    assert.equal(error.code, Code.ResourceExhausted, error.message);
    return error.findDetails(ErrorInfoSchema)[0]?.metadata["limit"];
  };
  const v = (size: number) => "v".repeat(size);
  await using kept = rawMember(at.transport, "m");
  kept.update({ a: [v(1), 1], b: [v(1), 1], c: [null, 1] });
  kept.send({ case: "updateRequest", value: { keys: ["a"] } });
  await kept.until(updates("a"));
  assert.equal(await refusal((member) => member.update({ d: [v(1), 1] })), "gossipEntries");
  assert.equal(await refusal((member) => member.advertise({ a: 1, b: 1, c: 1, d: 1 })), "gossipEntries");
  assert.equal(await refusal((member) => member.update({ a: [v(50), 2], b: [v(50), 2] })), "gossipBytes");
  assert.equal(await refusal((member) => member.update({ a: [v(61), 2] })), "valueBytes");
  assert.equal(await refusal((member) => member.update({ "12345678901": [v(1), 2] })), "keyBytes");
  await using other = rawMember(at.transport, "other");
  other.advertise({});
  await chunks(other);
  assert.equal(await refusal((member) => member.advertise({}), "third"), "gossipMaps");
  // A full map still takes what needs no more room, and a map that was left empty makes room for another.
  kept.update({ a: [null, 9] });
  kept.send({ case: "updateRequest", value: { keys: ["a"] } });
  assert.equal((await entryOf(kept, "a")).tombstone, true);
  await other[Symbol.asyncDispose]();
  await using third = rawMember(at.transport, "third");
  third.advertise({});
  await chunks(third);
});

test("the engine is away: a server that closes ends gossip streams with unavailable", async () => {
  const at = await openHere();
  await using raw = rawMember(at.transport, "m");
  raw.advertise({});
  await chunks(raw);
  await at.server.close();
  const error = await failure(raw.ended);
  assert.ok(error instanceof ConnectError && error.code === Code.Unavailable, String(error));
});
