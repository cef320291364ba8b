import { Code } from "@connectrpc/connect";
import { fromUtf8 } from "../../lib/utf8.js";
import type { DeclareCase } from "../case.js";
import { AssertionError, equal, ok } from "../expect.js";
import { errorMetadata, expectMalformed, expectRefusal } from "../expect-refusal.js";
import { firstWrite, type StateCalls, withEtag } from "./calls.js";

/** Cases of bulk reads, batches and transactions. */
export function stateBatchCases(on: DeclareCase<StateCalls>): void {
  bulkReadCases(on);
  saveBatchCases(on);
  deleteBatchCases(on);
  transactionCases(on);
  operationOrderCases(on);
  transactionConflictCases(on);
}

function bulkReadCases(on: DeclareCase<StateCalls>): void {
  for (const parallelism of [-1, 0, 1, 8]) {
    on(
      "GetBulkState",
      `GetBulkState answers in request order, duplicates once, with parallelism ${parallelism}`,
      async (at) => {
        for (const key of ["a", "b"]) await at.save(key, key);
        const items = await at.bulk(["b", "x", "a", "b"], parallelism);
        equal(
          items.map(({ key, data, etag, error }) => [key, fromUtf8(data), etag !== "", error]),
          [
            [at.key("b"), "b", true, ""],
            [at.key("x"), "", false, ""],
            [at.key("a"), "a", true, ""],
          ],
        );
      },
    );
  }

  on("GetBulkState", "GetBulkState of no keys has no items", async (at) => {
    equal(await at.bulk([]), []);
  });

  on("GetBulkState", "GetBulkState gives the etags of GetState", async (at) => {
    for (const key of ["a", "b", "c"]) await at.save(key, key);
    const items = await at.bulk(["a", "b", "c"]);
    for (const [i, key] of ["a", "b", "c"].entries()) equal(items[i]?.etag, await at.etag(key), key);
  });

  on("GetBulkState", "GetBulkState has room for 500 keys", async (at) => {
    const names = Array.from({ length: 500 }, (_, i) => `k${i}`);
    await at.saveAll(...names.map((name) => at.item(name, name)));
    const items = await at.bulk(names.toReversed(), 16);
    equal(
      items.map(({ data }) => fromUtf8(data)),
      names.toReversed(),
    );
  });
}

function saveBatchCases(on: DeclareCase<StateCalls>): void {
  on("SaveState, DeleteBulkState", "SaveState stores every item of a batch", async (at) => {
    await at.saveAll(at.item("a", "1"), at.item("b", "2"), at.item("c", "3"));
    const items = await at.bulk(["a", "b", "c"]);
    equal(
      items.map(({ data }) => fromUtf8(data)),
      ["1", "2", "3"],
    );
  });

  on("SaveState, DeleteBulkState", "SaveState writes all of a batch or nothing", async (at) => {
    await at.saveAll(at.item("a", "1"), at.item("b", "1"));
    const before = await at.bulk(["a", "b"]);
    const batch = [at.item("new", "2"), at.item("a", "2"), at.item("b", "2", withEtag("999"))];
    await expectRefusal(at.saveAll(...batch), Code.Aborted);
    await expectRefusal(at.saveAll(...batch.toReversed()), Code.Aborted);
    equal(await at.bulk(["a", "b"]), before);
    equal(await at.etag("new"), "");
  });

  on("SaveState, DeleteBulkState", "a batch with one malformed item does nothing", async (at) => {
    const states = [at.item("a", "1"), { key: "" }];
    await expectMalformed(at.runtime.saveState({ storeName: at.storeName, states }), "states[1].key");
    equal(await at.etag("a"), "");
  });
}

function deleteBatchCases(on: DeclareCase<StateCalls>): void {
  on("SaveState, DeleteBulkState", "DeleteBulkState deletes all of a batch or nothing", async (at) => {
    await at.saveAll(at.item("a", "1"), at.item("b", "1"));
    await expectRefusal(at.deleteAll(at.item("a"), at.item("b", "", withEtag("999"))), Code.Aborted);
    equal(await at.text("a"), "1");
    await at.deleteAll(at.item("a"), at.item("b", "", withEtag(await at.etag("b"))));
    equal([await at.etag("a"), await at.etag("b")], ["", ""]);
  });

  on("SaveState, DeleteBulkState", "DeleteBulkState of missing keys is OK", async (at) => {
    await at.save("a", "1");
    await at.deleteAll(at.item("missing"), at.item("a"), at.item("missing, too"));
    equal(await at.etag("a"), "");
  });

  on("SaveState, DeleteBulkState", "empty batches do nothing", async (at) => {
    await at.saveAll();
    await at.deleteAll();
  });

  on("SaveState, DeleteBulkState", "of a key that is twice in a batch the last value stays", async (at) => {
    await at.saveAll(at.item("a", "1"), at.item("b", "1"), at.item("a", "2"));
    equal([await at.text("a"), await at.text("b")], ["2", "1"]);
  });

  on(
    "SaveState, DeleteBulkState",
    "a reader of two keys that are saved together sees both old or both new",
    async (at) => {
      await at.saveAll(at.item("a", "0"), at.item("b", "0"));
      const write = async () => {
        for (let i = 1; i <= 20; i++) await at.saveAll(at.item("a", `${i}`), at.item("b", `${i}`));
      };
      const read = async () => {
        for (let i = 0; i < 20; i++) {
          const [a, b] = await at.bulk(["a", "b"]);
          equal(a?.data, b?.data, "two keys that are saved together");
        }
      };
      await Promise.all([write(), read()]);
    },
  );
}

function transactionCases(on: DeclareCase<StateCalls>): void {
  on("ExecuteStateTransaction", "a transaction upserts and deletes", async (at) => {
    await at.save("b", "1");
    await at.transact(["upsert", "a", "1"], ["delete", "b"]);
    equal([await at.text("a"), await at.etag("b")], ["1", ""]);
  });

  on("ExecuteStateTransaction", "a transaction that fails changes nothing", async (at) => {
    await at.save("a", "1");
    const before = await at.get("a");
    const failing = ["delete", "c", "", withEtag("5")] as const;
    await expectRefusal(at.transact(["upsert", "a", "2"], ["upsert", "b", "2"], failing), Code.Aborted);
    await expectRefusal(at.transact(failing, ["upsert", "a", "2"], ["upsert", "b", "2"]), Code.Aborted);
    equal([await at.get("a"), await at.etag("b")], [before, ""]);
  });
}

function operationOrderCases(on: DeclareCase<StateCalls>): void {
  on(
    "ExecuteStateTransaction",
    "later operations on a key see earlier ones: delete, then create",
    async (at) => {
      await at.save("k", "0");
      await at.transact(["delete", "k"], ["upsert", "k", "1", firstWrite]);
      equal(await at.text("k"), "1");
    },
  );

  on(
    "ExecuteStateTransaction",
    "later operations on a key see earlier ones: upsert, then create is aborted",
    async (at) => {
      await expectRefusal(at.transact(["upsert", "k", "1"], ["upsert", "k", "2", firstWrite]), Code.Aborted);
      equal(await at.etag("k"), "");
    },
  );

  on(
    "ExecuteStateTransaction",
    "later operations on a key see earlier ones: upsert, then delete leaves nothing",
    async (at) => {
      await at.transact(["upsert", "k", "1"], ["delete", "k"]);
      equal(await at.etag("k"), "");
    },
  );

  on(
    "ExecuteStateTransaction",
    "the etag that a key had is spent after the first operation on it",
    async (at) => {
      await at.save("k", "1");
      const once = withEtag(await at.etag("k"));
      await expectRefusal(at.transact(["upsert", "k", "2", once], ["upsert", "k", "3", once]), Code.Aborted);
      equal(await at.text("k"), "1");
      await at.transact(["upsert", "k", "2", once], ["upsert", "k", "3"]);
      equal(await at.text("k"), "3");
    },
  );

  on("ExecuteStateTransaction", "the last operation on a key is what stays", async (at) => {
    await at.transact(["upsert", "k", "1"], ["delete", "k"], ["upsert", "k", "2"]);
    equal(await at.text("k"), "2");
  });

  on("ExecuteStateTransaction", "a transaction of no operations is OK", async (at) => {
    await at.transact();
  });
}

function transactionConflictCases(on: DeclareCase<StateCalls>): void {
  on("ExecuteStateTransaction", "a refused transaction tells which key stood in the way", async (at) => {
    await at.save("b", "1");
    const error = await expectRefusal(
      at.transact(["upsert", "a", "1"], ["upsert", "b", "2", firstWrite]),
      Code.Aborted,
    );
    equal(errorMetadata(error), { key: at.key("b"), etag: await at.etag("b") });
  });

  on("ExecuteStateTransaction", "concurrent transactions lose no update", async (at) => {
    await at.saveAll(at.item("a", "0"), at.item("b", "100"));
    const move = async () => {
      for (let tries = 0; tries < 200; tries++) {
        const [a, b] = await at.bulk(["a", "b"]);
        ok(a && b, "both are there");
        const [from, to] = [Number(fromUtf8(b.data)), Number(fromUtf8(a.data))];
        equal(from + to, 100, "the sum");
        const moved = await at
          .transact(
            ["upsert", "b", `${from - 1}`, withEtag(b.etag)],
            ["upsert", "a", `${to + 1}`, withEtag(a.etag)],
          )
          .then(
            () => true,
            () => false,
          );
        if (moved) return;
      }
      throw new AssertionError("no transaction got through in 200 tries");
    };
    await Promise.all(Array.from({ length: 8 }, move));
    equal([await at.text("a"), await at.text("b")], ["8", "92"]);
  });

  for (const type of ["Upsert", "DELETE", "", "insert", "upsert "]) {
    on(
      "a transaction's operation type is not upsert or delete",
      `the operation type "${type}" is invalid_argument, and nothing of the transaction happens`,
      async (at) => {
        await expectMalformed(
          at.transact(["upsert", "a", "1"], [type, "b", "1"]),
          "operations[1].operationType",
        );
        equal([await at.etag("a"), await at.etag("b")], ["", ""]);
      },
    );
  }
}
