import { sleep } from "../../rpc/sleep.js";
import type { DeclareCase } from "../case.js";
import { equal } from "../expect.js";
import type { GossipCalls } from "../gossip-map.js";
import { clock } from "./member.js";

const withId = (at: number | bigint, id: string) =>
  Uint8Array.of(...clock(at), ...new TextEncoder().encode(id));

/** Cases of how members converge. */
export function convergenceCases(on: DeclareCase<GossipCalls>): void {
  updateCases(on);
  updateRequestCases(on);
  advertisementCases(on);
  timestampCases(on);
  lifetimeCases(on);
  tombstoneCases(on);
  sameClockCases(on);
}

function updateCases(on: DeclareCase<GossipCalls>): void {
  on("reference: Update", "the other members receive what one member writes", async (at) => {
    const [one, two] = [at.join({ source: "one" }), at.join({ source: "two" })];
    two.advertise({});
    await two.round();
    one.update({ k: ["v", 5] });
    equal(await two.entry("k"), { value: "v", timestamp: clock(5) });
  });

  on(
    "reference: Update",
    "a member that joins later receives everything after its first advertisement",
    async (at) => {
      const one = at.join({ source: "one" });
      one.update({ a: ["1", 1], b: ["2", 2], gone: [null, 3] });
      one.request("a");
      await one.entry("a");
      const two = at.join({ source: "two" });
      two.advertise({});
      equal((await two.entry("b")).value, "2");
      two.request("a", "gone");
      equal((await two.entry("a")).value, "1");
    },
  );

  on("reference: Update", "maps are apart, by name and by namespace", async (at) => {
    const one = at.join();
    one.update({ k: ["v", 5] });
    one.request("k");
    await one.entry("k");
    for (const place of [{ name: `${at.name}2` }, { namespace: "other" }]) {
      const other = at.join(place);
      other.advertise({});
      equal(await other.round(), [[]]);
    }
  });

  on("reference: Message", "one stream may carry several maps", async (at) => {
    const other = { namespace: "default", name: `${at.name}2` };
    const one = at.join();
    one.update({ k: ["here", 1] });
    one.send(
      {
        case: "update",
        value: { updates: { k: { digest: { timestamp: clock(1) }, value: Uint8Array.of(1) } } },
      },
      { target: other },
    );
    one.send({ case: "updateRequest", value: { keys: ["k"] } }, { target: other });
    const { target, message } = await one.until(({ message }) => message.case === "update");
    equal([target?.name, message.case], [other.name, "update"]);
  });
}

function updateRequestCases(on: DeclareCase<GossipCalls>): void {
  on(
    "reference: UpdateRequest",
    "an UpdateRequest is answered with the keys that exist, without the others",
    async (at) => {
      const one = at.join();
      one.update({ a: ["1", 1], b: [null, 2] });
      one.request("nothing", "a", "b");
      const { message } = await one.until(({ message }) => message.case === "update");
      const keys = message.case === "update" ? Object.keys(message.value.updates).sort() : [];
      equal(keys, ["a", "b"]);
    },
  );
}

function advertisementCases(on: DeclareCase<GossipCalls>): void {
  on("gossip repair", "keys that are not advertised are pushed", async (at) => {
    const one = at.join({ source: "one" });
    one.update({ a: ["1", 1], b: ["2", 2], c: [null, 3] });
    one.request("a");
    await one.entry("a");
    const two = at.join({ source: "two" });
    two.advertise({ a: 1 });
    const { message } = await two.until(({ message }) => message.case === "update");
    equal(message.case === "update" && Object.keys(message.value.updates).sort(), ["b", "c"]);
  });

  on(
    "gossip repair",
    "an advertised key that is not known is asked for, and so is a newer one",
    async (at) => {
      const one = at.join();
      one.update({ older: ["1", 1], same: ["1", 5] });
      one.request("older");
      await one.entry("older");
      one.advertise({ older: 2, same: 5, unknown: 1 });
      const { message } = await one.until(({ message }) => message.case === "updateRequest");
      equal(message.case === "updateRequest" && message.value.keys.toSorted(), ["older", "unknown"]);
    },
  );

  on("gossip repair", "an advertised key that is older is answered with what is newer", async (at) => {
    const one = at.join();
    one.update({ k: ["new", 9] });
    one.request("k");
    await one.entry("k");
    one.advertise({ k: 3 });
    equal(await one.entry("k"), { value: "new", timestamp: clock(9) });
  });
}

function timestampCases(on: DeclareCase<GossipCalls>): void {
  on(
    "gossip timestamps",
    "unsigned byte order is the total order: what is later replaces what is earlier",
    async (at) => {
      const [one, two] = [at.join({ source: "one" }), at.join({ source: "two" })];
      two.advertise({});
      await two.round();
      const rising = [
        new Uint8Array(),
        clock(1),
        withId(1, "a"),
        withId(1, "a\u0000"),
        Uint8Array.of(...clock(1), 0xff),
        clock(2),
        clock(0x7f),
        clock(0x80),
        clock(BigInt(Date.now()) << 16n),
      ];
      for (const [i, timestamp] of rising.entries()) {
        one.update({ k: [`v${i}`, timestamp] });
        equal((await two.entry("k")).value, `v${i}`);
      }
    },
  );

  on(
    "gossip timestamps",
    "what is earlier does not replace what is later, and is answered with it",
    async (at) => {
      const one = at.join();
      one.update({ k: ["new", withId(9, "b")] });
      one.request("k");
      await one.entry("k");
      for (const stale of [clock(8), clock(9), withId(9, "a"), new Uint8Array()]) {
        one.update({ k: ["stale", stale] });
        equal((await one.entry("k")).value, "new");
      }
    },
  );

  on(
    "gossip timestamps",
    "a timestamp is kept as it came, with the member id behind the clock",
    async (at) => {
      const one = at.join();
      one.update({ k: ["v", withId(7, "ada")] });
      one.request("k");
      equal(await one.entry("k"), { value: "v", timestamp: withId(7, "ada") });
    },
  );
}

function lifetimeCases(on: DeclareCase<GossipCalls>): void {
  const lasting = (at: bigint, id: string, ...ttlMs: number[]) =>
    Uint8Array.of(...withId(at, id), 0xff, 0, ...ttlMs);

  on("gossip timestamps", "a timestamp is kept as it came, with a lifetime at its end", async (at) => {
    const timestamp = lasting(BigInt(Date.now()) << 16n, "ada", 0x90, 0x4e);
    const one = at.join();
    one.update({ k: ["v", timestamp] });
    one.request("k");
    equal(await one.entry("k"), { value: "v", timestamp });
  });

  on("gossip timestamps", "a lifetime does not change which of two writes is later", async (at) => {
    const one = at.join();
    const now = BigInt(Date.now()) << 16n;
    one.update({ k: ["new", withId(now, "b")] });
    one.request("k");
    await one.entry("k");
    one.update({ k: ["stale", lasting(now - 1n, "b", 0x90, 0x4e)] });
    equal((await one.entry("k")).value, "new");
    one.update({ k: ["newer", lasting(now + 1n, "a", 0x90, 0x4e)] });
    one.request("k");
    equal((await one.entry("k")).value, "newer");
  });
}

function tombstoneCases(on: DeclareCase<GossipCalls>): void {
  on(
    "gossip repair",
    "a tombstone is stored for a key that is not known, so that no stale value comes back",
    async (at) => {
      const one = at.join({ source: "one" });
      one.update({ k: [null, 6] });
      one.request("k");
      equal((await one.entry("k")).value, undefined);
      const two = at.join({ source: "two" });
      two.update({ k: ["stale", 5] });
      equal((await two.entry("k")).value, undefined);
      two.update({ k: ["fresh", 7] });
      two.request("k");
      equal((await two.entry("k")).value, "fresh");
    },
  );

  on("gossip repair", "a tombstone removes the key, and is sent to the other members", async (at) => {
    const [one, two] = [at.join({ source: "one" }), at.join({ source: "two" })];
    two.advertise({});
    await two.round();
    one.update({ k: ["v", 5] });
    equal((await two.entry("k")).value, "v");
    one.update({ k: [null, 6] });
    equal(await two.entry("k"), { value: undefined, timestamp: clock(6) });
  });
}

function sameClockCases(on: DeclareCase<GossipCalls>): void {
  const [a, b] = [withId(5, "a"), withId(5, "b")];
  type Write = [value: string | null, at: Uint8Array];
  const cases: [description: string, first: Write, second: Write, wins: string | undefined][] = [
    ["the later member id wins", ["z", a], ["a", b], "a"],
    ["the later member id wins, whoever comes first", ["a", b], ["z", a], "a"],
    ["a tombstone wins over a value", ["z", clock(5)], [null, clock(5)], undefined],
    ["a tombstone wins over a value, whoever comes first", [null, clock(5)], ["z", clock(5)], undefined],
    ["the greater value wins", ["x", clock(5)], ["y", clock(5)], "y"],
    ["the greater value wins, whoever comes first", ["y", clock(5)], ["x", clock(5)], "y"],
    ["the longer of two values that begin alike wins", ["x", clock(5)], ["xx", clock(5)], "xx"],
  ];
  for (const [description, first, second, wins] of cases) {
    on("gossip repair", `of writes with the same clock ${description}`, async (at) => {
      const [one, two] = [at.join({ source: "one" }), at.join({ source: "two" })];
      one.update({ k: first });
      one.request("k");
      await one.entry("k");
      two.update({ k: second });
      // Whichever write wins, both members receive the same entry in the end.
      await sleep(20);
      two.request("k");
      one.request("k");
      equal((await settled(two)).value, wins);
      equal((await settled(one)).value, wins);
    });
  }

  /** The last entry of the key that the member receives. */
  const settled = async (member: ReturnType<GossipCalls["join"]>) => {
    let last = await member.entry("k");
    for (;;) {
      const next = await Promise.race([member.entry("k"), sleep(150).then(() => undefined)]);
      if (!next) return last;
      last = next;
    }
  };
}
