import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { openGossipMap } from "../../src/client/gossip-map.js";
import { clockOf } from "../../src/gossip/clock.js";
import { openInProcess } from "../support/protocols.js";
import { advertises, type RawMember, rawMember, updates } from "../support/raw-member.js";
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
  await using at = await openInProcess();
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

test("a limit is hit (message, key or value size, open streams, rate): the limits of gossip maps are named", async () => {
  const limits = { gossipMaps: 2, gossipEntries: 3, gossipBytes: 100, keyBytes: 10, valueBytes: 60 };
  await using at = await openInProcess({ config: { limits } });
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
  const at = await openInProcess();
  await using raw = rawMember(at.transport, "m");
  raw.advertise({});
  await chunks(raw);
  await at.server.close();
  const error = await failure(raw.ended);
  assert.ok(error instanceof ConnectError && error.code === Code.Unavailable, String(error));
});
