import { Code } from "@connectrpc/connect";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { errorMetadata, expectRefusal } from "../expect-refusal.js";
import { MALFORMED, MISMATCH } from "../rules.js";
import { FIRST_WRITE, firstWrite, LAST_WRITE, type StateCalls, withEtag } from "./calls.js";

/** Cases of etags and of writes that carry them. */
export function stateEtagCases(on: DeclareCase<StateCalls>): void {
  etagVersionCases(on);
  absentEtagCases(on);
  etagMatchCases(on);
  etagErrorCases(on);
  createOnlyCases(on);
}

function etagVersionCases(on: DeclareCase<StateCalls>): void {
  on("etag", "an etag is a decimal version above 0", async (at) => {
    await at.save("k", "v");
    const etag = await at.etag("k");
    ok(/^[1-9]\d*$/.test(etag), `it is a number: "${etag}"`);
  });

  on("etag", "every write gives a new etag, also of the same value; reading does not", async (at) => {
    const seen = new Set<string>();
    for (let i = 0; i < 4; i++) {
      await at.save("k", "same");
      const etag = await at.etag("k");
      ok(!seen.has(etag), `etag ${etag} is new`);
      seen.add(etag);
      equal(await at.etag("k"), etag, "the etag on reading again");
    }
  });

  on(
    "etag",
    "a key that is deleted and written again does not get an etag that it had before",
    async (at) => {
      await at.save("k", "1");
      const before = await at.etag("k");
      await at.delete("k");
      await at.save("k", "2");
      await expectRefusal(at.save("k", "3", withEtag(before)), Code.Aborted);
      equal(await at.text("k"), "2");
    },
  );
}

function absentEtagCases(on: DeclareCase<StateCalls>): void {
  for (const [description, etag] of [
    ["no etag", undefined],
    ['the etag ""', ""],
    ['the etag "0"', "0"],
  ] as const) {
    const given = etag === undefined ? {} : withEtag(etag);
    on("etag", `${description} on SaveState is no condition`, async (at) => {
      await at.save("k", "1", given);
      await at.save("k", "2", given);
      equal(await at.text("k"), "2");
    });

    on("etag", `${description} on DeleteState is no condition`, async (at) => {
      const remove = () => (etag === undefined ? at.deleteWithoutEtag("k") : at.delete("k", etag));
      await at.save("k", "1");
      await remove();
      equal(await at.etag("k"), "");
      await remove();
    });

    on("etag", `${description} on DeleteBulkState is no condition`, async (at) => {
      await at.save("k", "1");
      await at.deleteAll(at.item("k", "", given), at.item("missing", "", given));
      equal(await at.etag("k"), "");
    });

    on("etag", `${description} in a transaction is no condition`, async (at) => {
      await at.save("k", "1");
      await at.transact(["upsert", "k", "2", given], ["delete", "missing", "", given]);
      equal(await at.text("k"), "2");
      await at.transact(["delete", "k", "", given]);
      equal(await at.etag("k"), "");
    });
  }
}

function etagMatchCases(on: DeclareCase<StateCalls>): void {
  for (const [description, concurrency] of [
    ["unspecified", 0],
    ["FIRST_WRITE", FIRST_WRITE],
    ["LAST_WRITE", LAST_WRITE],
  ] as const) {
    const options = { options: { concurrency } };
    on(
      "etag given",
      `with concurrency ${description} an etag that does not match refuses a write`,
      async (at) => {
        await at.save("k", "1");
        await expectRefusal(at.save("k", "2", { ...withEtag("77"), ...options }), Code.Aborted);
        equal(await at.text("k"), "1");
      },
    );

    on(
      "etag given",
      `with concurrency ${description} an etag that matches lets a write through`,
      async (at) => {
        await at.save("k", "1");
        await at.save("k", "2", { ...withEtag(await at.etag("k")), ...options });
        equal(await at.text("k"), "2");
      },
    );

    on("etag given", `with concurrency ${description} an etag is refused on a missing key`, async (at) => {
      await expectRefusal(at.save("k", "2", { ...withEtag("1"), ...options }), Code.Aborted);
      equal(await at.etag("k"), "");
    });
  }

  on("etag given", "DeleteState deletes by the etag that matches, and by no other", async (at) => {
    await at.save("k", "1");
    const stale = await at.etag("k");
    await at.save("k", "2");
    await expectRefusal(at.delete("k", stale), Code.Aborted);
    equal(await at.text("k"), "2");
    await at.delete("k", await at.etag("k"));
    equal(await at.etag("k"), "");
  });

  on("etag given", "DeleteState with an etag of a missing key is aborted", async (at) => {
    await expectRefusal(at.delete("k", "1"), Code.Aborted);
  });

  on("etag given", "of many writers with the same etag one gets through", async (at) => {
    await at.save("k", "0");
    const etag = await at.etag("k");
    const writers = Array.from({ length: 16 }, (_, i) => at.save("k", `${i + 1}`, withEtag(etag)));
    const settled = await Promise.allSettled(writers);
    const winners = settled.flatMap(({ status }, i) => (status === "fulfilled" ? [`${i + 1}`] : []));
    equal(winners.length, 1, "the writers that got through");
    equal(await at.text("k"), winners[0]);
    for (const call of writers) await call.catch((error) => equal(error.code, Code.Aborted));
  });
}

function etagErrorCases(on: DeclareCase<StateCalls>): void {
  const writers: [string, (at: StateCalls, etag: string) => Promise<unknown>][] = [
    ["SaveState", (at, etag) => at.save("k", "x", withEtag(etag))],
    ["DeleteState", (at, etag) => at.delete("k", etag)],
    ["DeleteBulkState", (at, etag) => at.deleteAll(at.item("k", "", withEtag(etag)))],
    ["ExecuteStateTransaction", (at, etag) => at.transact(["delete", "k", "", withEtag(etag)])],
    ["ExecuteStateTransaction (upsert)", (at, etag) => at.transact(["upsert", "k", "x", withEtag(etag)])],
  ];
  for (const [rpc, write] of writers) {
    on(
      MISMATCH,
      `${rpc} with an etag that does not match is aborted, with the key and its etag`,
      async (at) => {
        await at.save("k", "1");
        const error = await expectRefusal(write(at, "999"), Code.Aborted);
        equal(errorMetadata(error), { key: at.key("k"), etag: await at.etag("k") });
        equal(await at.text("k"), "1");
      },
    );

    on(MISMATCH, `${rpc} with an etag of a missing key tells that it has none`, async (at) => {
      const error = await expectRefusal(write(at, "999"), Code.Aborted);
      equal(errorMetadata(error), { key: at.key("k"), etag: "" });
    });

    on(MALFORMED, `${rpc} with a malformed etag is invalid_argument, and does nothing`, async (at) => {
      await at.save("k", "1");
      for (const etag of ["x", "-1", "1.5", " 1", "0x1", "99999999999999999999999"]) {
        await expectRefusal(write(at, etag), Code.InvalidArgument, `etag "${etag}"`);
      }
      equal(await at.text("k"), "1");
    });
  }
}

function createOnlyCases(on: DeclareCase<StateCalls>): void {
  on("FIRST_WRITE without etag", "FIRST_WRITE without an etag creates only", async (at) => {
    await at.save("k", "1", firstWrite);
    const error = await expectRefusal(at.save("k", "2", firstWrite), Code.Aborted);
    equal(errorMetadata(error), { key: at.key("k"), etag: await at.etag("k") });
    equal(await at.text("k"), "1");
  });

  on("FIRST_WRITE without etag", 'FIRST_WRITE with the etag "0" creates only', async (at) => {
    await at.save("k", "1", { ...firstWrite, ...withEtag("0") });
    await expectRefusal(at.save("k", "2", { ...firstWrite, ...withEtag("0") }), Code.Aborted);
    equal(await at.text("k"), "1");
  });

  on(
    "FIRST_WRITE without etag",
    "LAST_WRITE and unspecified overwrite, also what FIRST_WRITE wrote",
    async (at) => {
      await at.save("k", "1", firstWrite);
      await at.save("k", "2", { options: { concurrency: LAST_WRITE } });
      equal(await at.text("k"), "2");
      await at.save("k", "3");
      equal(await at.text("k"), "3");
    },
  );

  on(
    "FIRST_WRITE without etag",
    "FIRST_WRITE on a delete is no condition: there is nothing to create",
    async (at) => {
      await at.save("k", "1");
      const key = at.key("k");
      await at.runtime.deleteState({ storeName: at.storeName, key, options: { concurrency: FIRST_WRITE } });
      equal(await at.etag("k"), "");
    },
  );

  on("FIRST_WRITE without etag", "FIRST_WRITE creates again what was deleted", async (at) => {
    await at.save("k", "1", firstWrite);
    await at.delete("k");
    await at.save("k", "2", firstWrite);
    equal(await at.text("k"), "2");
  });

  on("FIRST_WRITE without etag", "of many that create the same key one gets through", async (at) => {
    const calls = Array.from({ length: 16 }, (_, i) => at.save("k", `${i}`, firstWrite));
    const settled = await Promise.allSettled(calls);
    const winners = settled.flatMap(({ status }, i) => (status === "fulfilled" ? [`${i}`] : []));
    equal(winners.length, 1, "those that got through");
    equal(await at.text("k"), winners[0]);
  });
}
