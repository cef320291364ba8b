import { Code } from "@connectrpc/connect";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { expectMalformed, expectRefusal } from "../expect-refusal.js";
import { firstWrite, type StateCalls, ttl, withEtag } from "./calls.js";

/** The remaining lifetime of an entry in milliseconds. Fails if the entry does not exist. */
async function remainingMs(at: StateCalls, key: string): Promise<number | undefined> {
  const { etag, metadata } = await at.get(key);
  ok(etag !== "", `${key} is still there`);
  const remaining = metadata["ttlRemainingMs"];
  return remaining === undefined ? undefined : Number(remaining);
}

/** Fails unless `remaining` is at most `ms`, and at most 20 s less: a slow network takes time. */
function expectAbout(remaining: number | undefined, ms: number): void {
  ok(
    remaining !== undefined && remaining <= ms && remaining > ms - 20_000,
    `${remaining} ms are left, of ${ms}`,
  );
}

/** Cases of entries that expire. */
export function stateLifetimeCases(on: DeclareCase<StateCalls>): void {
  ttlCases(on);
  batchTtlCases(on);
  expiryCases(on);
}

function ttlCases(on: DeclareCase<StateCalls>): void {
  on("ttlInSeconds", "a fresh write without ttlInSeconds has no lifetime", async (at) => {
    await at.save("k", "v");
    equal(await remainingMs(at, "k"), undefined);
  });

  on(
    "ttlInSeconds",
    "ttlInSeconds above 0 sets the lifetime, and ttlRemainingMs is the rest of it",
    async (at) => {
      await at.save("k", "v", ttl("100"));
      expectAbout(await remainingMs(at, "k"), 100_000);
      const [item] = await at.bulk(["k"]);
      expectAbout(Number(item?.metadata["ttlRemainingMs"]), 100_000);
    },
  );

  on("ttlInSeconds", "a write without ttlInSeconds keeps the lifetime that there is", async (at) => {
    await at.save("k", "1", ttl("100"));
    await at.save("k", "2");
    expectAbout(await remainingMs(at, "k"), 100_000);
    await at.transact(["upsert", "k", "3"]);
    expectAbout(await remainingMs(at, "k"), 100_000);
  });

  for (const seconds of ["0", "-3"]) {
    on("ttlInSeconds", `ttlInSeconds ${seconds} clears the lifetime`, async (at) => {
      await at.save("k", "1", ttl("100"));
      await at.save("k", "2", ttl(seconds));
      equal(await remainingMs(at, "k"), undefined);
      equal(await at.text("k"), "2");
    });
  }

  on("ttlInSeconds", "a later ttlInSeconds replaces an earlier one, sooner or later", async (at) => {
    await at.save("k", "1", ttl("100"));
    await at.save("k", "2", ttl("1000"));
    expectAbout(await remainingMs(at, "k"), 1_000_000);
    await at.save("k", "3", ttl("60"));
    expectAbout(await remainingMs(at, "k"), 60_000);
  });

  on("ttlInSeconds", "an entry that was deleted has no lifetime when it is written again", async (at) => {
    await at.save("k", "1", ttl("100"));
    await at.delete("k");
    await at.save("k", "2");
    equal(await remainingMs(at, "k"), undefined);
  });
}

function batchTtlCases(on: DeclareCase<StateCalls>): void {
  on("ttlInSeconds", "each item of a batch has a lifetime of its own", async (at) => {
    await at.saveAll(at.item("a", "1", ttl("100")), at.item("b", "1"), at.item("c", "1", ttl("1000")));
    expectAbout(await remainingMs(at, "a"), 100_000);
    equal(await remainingMs(at, "b"), undefined);
    expectAbout(await remainingMs(at, "c"), 1_000_000);
  });

  on("ttlInSeconds", "a transaction sets and clears lifetimes", async (at) => {
    await at.save("b", "1", ttl("100"));
    await at.transact(["upsert", "a", "1", ttl("100")], ["upsert", "b", "2", ttl("0")]);
    expectAbout(await remainingMs(at, "a"), 100_000);
    equal(await remainingMs(at, "b"), undefined);
    await at.transact(["delete", "a"], ["upsert", "a", "2"]);
    equal(await remainingMs(at, "a"), undefined, "the ttl after a delete in the same transaction");
  });

  for (const bad of ["1.5", "x", "", "1e3", "0x10", "1s"]) {
    on("ttlInSeconds", `ttlInSeconds "${bad}" is invalid_argument, and stores nothing`, async (at) => {
      await expectMalformed(at.save("k", "v", ttl(bad)), 'states[0].metadata["ttlInSeconds"]');
      equal(await at.etag("k"), "");
    });
  }
}

function expiryCases(on: DeclareCase<StateCalls>): void {
  on(["ttlInSeconds", "time"], "an expired key is missing, for single and bulk reads alike", async (at) => {
    await at.saveAll(at.item("k", "v", ttl("2")), at.item("stays", "v"));
    await at.pass(2100);
    equal(await at.get("k"), { text: "", etag: "", metadata: {} });
    const items = await at.bulk(["k", "stays"]);
    equal(
      items.map(({ etag }) => etag !== ""),
      [false, true],
    );
  });

  on(
    ["ttlInSeconds", "time"],
    "an expired key can be created, and its old etag matches nothing",
    async (at) => {
      await at.save("k", "1", ttl("2"));
      const etag = await at.etag("k");
      await at.pass(2100);
      await expectRefusal(at.save("k", "2", withEtag(etag)), Code.Aborted);
      await expectRefusal(at.delete("k", etag), Code.Aborted);
      await at.save("k", "3", firstWrite);
      equal(await at.text("k"), "3");
      equal(await remainingMs(at, "k"), undefined, "the ttl of the old lifetime");
    },
  );

  on(["ttlInSeconds", "time"], "a lifetime that was cleared or moved lets the entry stay", async (at) => {
    await at.saveAll(at.item("a", "1", ttl("2")), at.item("b", "1", ttl("2")));
    await at.saveAll(at.item("a", "2", ttl("0")), at.item("b", "2", ttl("100")));
    await at.pass(2100);
    equal([await at.text("a"), await at.text("b")], ["2", "2"]);
  });

  on(
    ["ttlInSeconds", "clock"],
    "a key is there until its lifetime is over, and missing from that moment on",
    async (at) => {
      await at.save("k", "v", ttl("2"));
      await at.pass(1999);
      ok((await at.etag("k")) !== "", "it is there a millisecond before");
      await at.pass(1);
      equal(await at.etag("k"), "");
    },
  );
}
