import { Code, type ConnectError } from "@connectrpc/connect";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { expectLimit, expectMalformed } from "../expect-refusal.js";
import type { GossipCalls } from "../gossip-map.js";
import { LIMIT, MAX_VALUE_BYTES, REQUIRED } from "../rules.js";
import { clock, type TestMember } from "./member.js";

const HOURS_MS = 3_600_000;
const ahead = (ms: number) => BigInt(Date.now() + ms) << 16n;

/** Cases of messages: sources, chunks and malformed ones. */
export function gossipMessageCases(on: DeclareCase<GossipCalls>): void {
  sourceCases(on);
  chunkCases(on);
  malformedMessageCases(on);
  messageLimitCases(on);
}

function sourceCases(on: DeclareCase<GossipCalls>): void {
  on("gossip repair", "source and target are always set, on the stream that the peer opened", async (at) => {
    const one = at.join({ namespace: "group-1" });
    one.advertise({ wanted: 5 });
    const seen: (string | undefined)[] = [];
    while (seen.at(-1) !== "antiEntropyAdvertisement") {
      const { source, target, message } = await one.until(() => true);
      ok(source !== "", "there is a source");
      equal([target?.namespace, target?.name], ["group-1", at.name]);
      seen.push(message.case);
      if (message.case === "updateRequest") one.update({ wanted: ["v", 5] });
    }
    ok(seen.includes("updateRequest"), `it asks for what it lacks: ${seen}`);
  });

  on("gossip repair", "what the server tells of itself is one source", async (at) => {
    const one = at.join();
    one.update({ a: ["1", 1], b: ["2", 2] });
    const sources = new Set<string>();
    for (const key of ["a", "b", "a"]) {
      one.request(key);
      sources.add((await one.until(({ message }) => message.case === "update")).source);
    }
    const two = at.join({ source: "two" });
    two.request("a");
    sources.add((await two.until(({ message }) => message.case === "update")).source);
    equal(sources.size, 1);
  });

  on("gossip repair", "a member is not sent what it has sent itself", async (at) => {
    const [one, two] = [at.join({ source: "one" }), at.join({ source: "two" })];
    for (const member of [one, two]) {
      member.advertise({});
      await member.round();
    }
    one.update({ k: ["v", 5] });
    await two.entry("k");
    two.update({ mark: ["m", 6] });
    const { message } = await one.until(({ message }) => message.case === "update");
    equal(message.case === "update" && Object.keys(message.value.updates), ["mark"]);
  });
}

const KEYS = Array.from({ length: 2500 }, (_, i) => `k${String(i).padStart(4, "0")}`);
const digestOf = (keys: readonly string[]) => Object.fromEntries(keys.map((key) => [key, 1]));

function chunkCases(on: DeclareCase<GossipCalls>): void {
  on(["gossip repair", "extensions"], "advertisements come in chunks of 1000 keys, in order", async (at) => {
    const one = at.join();
    one.update(Object.fromEntries(KEYS.map((key) => [key, ["v", 1]])));
    // A round of advertisements during the update would lack the entries that are not stored yet.
    one.request("k0000");
    await one.entry("k0000");
    // Another member: during the update the server may have started a round with the first one.
    const two = at.join({ source: "two" });
    two.advertise(digestOf(KEYS));
    const chunks = await two.round();
    equal(
      chunks.map(({ length }) => length),
      [1000, 1000, 500],
    );
    equal(chunks.flat(), KEYS);
  });

  on(["gossip repair", "extensions"], "what a chunk does not cover is not taken for missing", async (at) => {
    const one = at.join({ source: "one" });
    one.update(Object.fromEntries(KEYS.map((key) => [key, ["v", 1]])));
    one.request("k0000");
    await one.entry("k0000");
    const two = at.join({ source: "two" });
    const pushed: string[] = [];
    const push = async (count: number) => {
      while (pushed.length < count) {
        const { message } = await two.until(({ message }) => message.case === "update");
        if (message.case === "update") pushed.push(...Object.keys(message.value.updates));
      }
      return pushed.splice(0).sort();
    };
    // Two of the first 1002 keys are missing. The second part of the digest follows later.
    two.advertise(digestOf(KEYS.slice(0, 1002).filter((key) => key !== "k0003" && key !== "k0500")));
    equal(await push(2), ["k0003", "k0500"]);
    two.advertise(digestOf(KEYS.slice(1002, 2400)));
    equal(await push(100), KEYS.slice(2400));
  });
}

function malformedMessageCases(on: DeclareCase<GossipCalls>): void {
  const update = (timestamp: Uint8Array, key = "k") =>
    ({ case: "update", value: { updates: { [key]: { digest: { timestamp } } } } }) as const;
  const none = { case: undefined } as const;
  const cases: [description: string, field: string, send: (member: TestMember) => void][] = [
    ["no source", "source", (m) => m.send(none, { source: "" })],
    ["no target", "target", (m) => m.send(none, { target: undefined as never })],
    ["a target without a name", "target.name", (m) => m.send(none, { target: { namespace: "n" } })],
    ["a malformed name", "target.name", (m) => m.send(none, { target: { name: "a\u0000b" } })],
    [
      "a malformed namespace",
      "target.namespace",
      (m) => m.send(none, { target: { name: "a", namespace: "\n" } }),
    ],
    ["an empty key", 'update.updates[""]', (m) => m.send(update(clock(1), ""))],
    [
      "an entry without a digest",
      'update.updates["k"].digest',
      (m) => m.send({ case: "update", value: { updates: { k: {} } } }),
    ],
    [
      "a malformed lifetime",
      'update.updates["k"].digest.timestamp',
      (m) => m.send(update(Uint8Array.of(...clock(1), 0xff, 0, 0))),
    ],
    ["a short timestamp", 'update.updates["k"].digest.timestamp', (m) => m.send(update(new Uint8Array(7)))],
    [
      "a time far ahead",
      'update.updates["k"].digest.timestamp',
      (m) => m.send(update(clock(ahead(25 * HOURS_MS)))),
    ],
    [
      "a clock at its end",
      "update.timestamp",
      (m) => m.send({ case: "update", value: { timestamp: clock(2n ** 64n - 1n) } }),
    ],
    [
      "an advertised time far ahead",
      'anti_entropy_advertisement.digest["k"].timestamp',
      (m) => m.advertise({ k: ahead(25 * HOURS_MS) }),
    ],
    ["a request for an empty key", "update_request.keys[0]", (m) => m.request("")],
  ];
  for (const [description, field, send] of cases) {
    on(
      REQUIRED,
      `a message with ${description} ends the stream as invalid_argument, naming ${field}`,
      async (at) => {
        const member = at.join({ source: "wrong" });
        send(member);
        await expectMalformed(member.ended, field);
        const other = at.join();
        other.advertise({});
        equal(await other.round(), [[]], "what came of it");
      },
    );
  }
}

function messageLimitCases(on: DeclareCase<GossipCalls>): void {
  on("gossip timestamps", "a clock that is a little ahead is put up with", async (at) => {
    const one = at.join();
    one.update({ k: ["v", ahead(30_000)] });
    one.request("k");
    equal((await one.entry("k")).value, "v");
  });

  on(LIMIT, "a key above 1024 bytes is resource_exhausted", async (at) => {
    const one = at.join();
    one.update({ [`k${"é".repeat(512)}`]: ["v", 1] });
    await expectLimit(one.ended, "keyBytes");
  });

  on([LIMIT, "extensions"], "a value above the limit is resource_exhausted", async (at) => {
    const one = at.join();
    one.update({ k: ["v".repeat(MAX_VALUE_BYTES + 1), 1] });
    await expectLimit(one.ended, "valueBytes");
  });

  on("reference: Connect", "a stream ends when its client leaves, and another may join", async (at) => {
    const one = at.join();
    one.update({ k: ["v", 1] });
    one.request("k");
    await one.entry("k");
    one.leave();
    await one.ended.catch((error: ConnectError) => equal(error.code, Code.Canceled));
    const two = at.join();
    two.request("k");
    equal((await two.entry("k")).value, "v");
  });
}
