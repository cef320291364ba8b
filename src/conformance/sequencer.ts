import { Code } from "@connectrpc/connect";
import { Runtime, SequencerOptions_AutoIncrement } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { ID_COUNT_HEADER } from "../rpc/extension-headers.js";
import { type Case, casesOf, type DeclareCase } from "./case.js";
import type { CaseContext } from "./case-context.js";
import { equal, ok } from "./expect.js";
import {
  expectLimit,
  expectMalformed,
  expectRefusal,
  expectUnconfigured,
  UNKNOWN_NAMES,
} from "./expect-refusal.js";
import { LIMIT, REQUIRED, UNKNOWN } from "./rules.js";
import { sequencerHistoryCases } from "./sequencer/histories.js";

const { WEAK, STRONG } = SequencerOptions_AutoIncrement;
type Increment = typeof WEAK | typeof STRONG;

type IdRequest = { increment?: Increment; count?: string; storeName?: string };

function sequencerCalls(context: CaseContext) {
  const runtime = context.client(Runtime);
  /** Requests ids. `confirmed` is the header fairlead-id-count. */
  const block = async (
    key: string,
    { increment, count, storeName = context.stores.sequencer }: IdRequest = {},
  ) => {
    let confirmed: string | null = null;
    const onHeader = (headers: Headers) => {
      confirmed = headers.get(ID_COUNT_HEADER);
    };
    const request = {
      storeName,
      key: context.own(key),
      ...(count !== undefined && { metadata: { count } }),
      ...(increment !== undefined && { options: { increment } }),
    };
    const { nextId } = await runtime.getNextId(request, { onHeader });
    return { first: nextId, confirmed: confirmed as string | null };
  };
  const next = async (key: string, increment?: Increment, storeName?: string) =>
    (await block(key, { ...(increment !== undefined && { increment }), ...(storeName && { storeName }) }))
      .first;
  return { ...context, runtime, storeName: context.stores.sequencer, block, next };
}

type SequencerCalls = ReturnType<typeof sequencerCalls>;

/** The cases of sequencers. */
export const sequencerCases: readonly Case[] = casesOf("sequencer", sequencerCalls, [
  uniqueIdCases,
  strongIdCases,
  sequenceCases,
  idBlockCases,
  sequencerRefusalCases,
  sequencerHistoryCases,
]);

function uniqueIdCases(on: DeclareCase<SequencerCalls>): void {
  for (const [description, increment] of [
    ["no guarantee", undefined],
    ["WEAK", WEAK],
    ["STRONG", STRONG],
  ] as const) {
    on("GetNextId", `with ${description} the first id is 1`, async (at) => {
      equal(await at.next("a", increment), 1n);
    });

    on("GetNextId", `with ${description} ids of many callers at once are unique`, async (at) => {
      const given = await Promise.all(Array.from({ length: 100 }, () => at.next("a", increment)));
      equal(new Set(given).size, 100);
      ok(
        given.every((id) => id > 0n),
        "all are above 0",
      );
    });

    on(["GetNextId", "second client"], `with ${description} ids of two clients are unique`, async (at) => {
      const other = at.client(Runtime, await at.second());
      const request = {
        storeName: at.storeName,
        key: at.own("a"),
        ...(increment !== undefined && { options: { increment } }),
      };
      const given = await Promise.all(
        Array.from({ length: 40 }, async (_, i) =>
          i % 2 ? at.next("a", increment) : (await other.getNextId(request)).nextId,
        ),
      );
      equal(new Set(given).size, 40);
    });
  }
}

function strongIdCases(on: DeclareCase<SequencerCalls>): void {
  on("GetNextId", "STRONG ids strictly increase", async (at) => {
    let last = 0n;
    for (let i = 0; i < 20; i++) {
      const id = await at.next("a", STRONG);
      ok(id > last, `${id} after ${last}`);
      last = id;
    }
  });

  on(["GetNextId", "second client"], "STRONG ids strictly increase across clients", async (at) => {
    const other = at.client(Runtime, await at.second());
    let last = 0n;
    for (let i = 0; i < 20; i++) {
      const request = { storeName: at.storeName, key: at.own("a"), options: { increment: STRONG } };
      const id = i % 2 ? (await other.getNextId(request)).nextId : await at.next("a", STRONG);
      ok(id > last, `${id} after ${last}`);
      last = id;
    }
  });

  on("GetNextId", "a STRONG id is greater than every WEAK one before it", async (at) => {
    let most = 0n;
    for (let i = 0; i < 12; i++) {
      const id = await at.next("a", i % 3 === 2 ? STRONG : WEAK);
      if (i % 3 === 2) ok(id > most, `${id} is greater than ${most}`);
      if (id > most) most = id;
    }
  });

  on("GetNextId", "WEAK and STRONG ids of the same key are unique together", async (at) => {
    const given = await Promise.all(
      Array.from({ length: 60 }, (_, i) => at.next("a", i % 3 ? WEAK : STRONG)),
    );
    equal(new Set(given).size, 60);
  });

  on(
    ["GetNextId", "extensions"],
    "the default is WEAK, from a segment that a STRONG id comes after",
    async (at) => {
      equal(await at.next("a"), 1n);
      ok((await at.next("a", STRONG)) > 2n, "the segment is left out");
      equal(await at.next("a"), 2n);
    },
  );
}

function sequenceCases(on: DeclareCase<SequencerCalls>): void {
  on("GetNextId", "keys have sequences of their own", async (at) => {
    for (const key of ["a", "A", "a||b", "a|||b", "ä", "a "]) equal(await at.next(key, STRONG), 1n, key);
    equal(await at.next("a", STRONG), 2n);
  });

  on(["GetNextId", "other stores"], "the same key in another store is another sequence", async (at) => {
    equal(await at.next("a", STRONG), 1n);
    equal(await at.next("a", STRONG, at.stores.others?.sequencer), 1n);
  });

  on(["GetNextId", "bigger than"], "ids of a key with a floor are all greater than it", async (at) => {
    const { key = "", value = "" } = at.stores.biggerThan ?? {};
    for (const increment of [WEAK, STRONG]) {
      const { nextId } = await at.runtime.getNextId({ storeName: at.storeName, key, options: { increment } });
      ok(nextId > BigInt(value), `${nextId} is greater than ${value}`);
    }
    const { nextId } = await at.runtime.getNextId({ storeName: at.storeName, key, metadata: { count: "2" } });
    ok(nextId > BigInt(value), `${nextId} is greater than ${value}`);
  });

  on("GetNextId", "metadata that is not known is no matter", async (at) => {
    const request = { storeName: at.storeName, key: at.own("a"), metadata: { other: "x" } };
    equal((await at.runtime.getNextId(request)).nextId, 1n);
  });
}

function idBlockCases(on: DeclareCase<SequencerCalls>): void {
  on(["GetNextId", "extensions"], "count reserves a block, which fairlead-id-count confirms", async (at) => {
    equal(await at.block("a", { count: "5", increment: STRONG }), { first: 1n, confirmed: "5" });
    equal(await at.block("a", { count: "1", increment: STRONG }), { first: 6n, confirmed: "1" });
    equal(await at.block("a", { increment: STRONG }), { first: 7n, confirmed: null });
  });

  on(["GetNextId", "extensions"], "a block may have 100000 ids", async (at) => {
    equal(await at.block("a", { count: "100000" }), { first: 1n, confirmed: "100000" });
    equal(await at.next("a", STRONG), 100_001n);
  });

  on(
    ["GetNextId", "extensions"],
    "a WEAK block is reserved as well, and none of its ids comes again",
    async (at) => {
      const first = await at.next("a", WEAK);
      const block = await at.block("a", { count: "10", increment: WEAK });
      equal(block.confirmed, "10");
      const own = new Set(Array.from({ length: 10 }, (_, i) => block.first + BigInt(i)));
      for (const id of [first, await at.next("a"), await at.next("a"), await at.next("a", STRONG)]) {
        ok(!own.has(id), `${id} is not of the block from ${block.first} on`);
      }
    },
  );

  on(["GetNextId", "extensions"], "blocks of many callers at once do not overlap", async (at) => {
    const given = await Promise.all(Array.from({ length: 16 }, () => at.block("a", { count: "7" })));
    const all = given.flatMap(({ first }) => Array.from({ length: 7 }, (_, i) => first + BigInt(i)));
    equal(new Set(all).size, 112);
  });

  for (const count of [
    "0",
    "-1",
    "100001",
    "1e3",
    "",
    " 1",
    "1.0",
    "+1",
    "01",
    "x",
    "10000000000000000000",
  ]) {
    on(
      ["GetNextId", "extensions"],
      `the count "${count}" is invalid_argument, and reserves nothing`,
      async (at) => {
        await expectMalformed(at.block("a", { count }), 'metadata["count"]');
        equal(await at.next("a", STRONG), 1n);
      },
    );
  }
}

function sequencerRefusalCases(on: DeclareCase<SequencerCalls>): void {
  on(REQUIRED, "GetNextId needs a store and a key", async (at) => {
    const { getNextId } = at.runtime;
    await expectMalformed(getNextId({ storeName: "", key: "a" }), "store_name");
    await expectMalformed(getNextId({ storeName: "a\nb", key: "a" }), "store_name");
    await expectMalformed(getNextId({ storeName: at.storeName, key: "" }), "key");
  });

  on(REQUIRED, "an increment that is none is invalid_argument", async (at) => {
    const options = { increment: 2 as never };
    await expectMalformed(
      at.runtime.getNextId({ storeName: at.storeName, key: at.own("a"), options }),
      "options.increment",
    );
  });

  on(UNKNOWN, "GetNextId of a store that is not configured is invalid_argument, naming it", async (at) => {
    for (const storeName of UNKNOWN_NAMES) {
      await expectUnconfigured(at.runtime.getNextId({ storeName, key: "a" }), "sequencer store", storeName);
    }
  });

  on(LIMIT, "a key above 1024 bytes is resource_exhausted, naming keyBytes", async (at) => {
    const key = `k${"é".repeat(512)}`;
    await expectLimit(at.runtime.getNextId({ storeName: at.storeName, key }), "keyBytes");
    await expectRefusal(at.runtime.getNextId({ storeName: at.storeName, key }), Code.ResourceExhausted);
  });
}
