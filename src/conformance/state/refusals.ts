import type { DeclareCase } from "../case.js";
import { expectMalformed, expectUnconfigured, UNKNOWN_NAMES } from "../expect-refusal.js";
import { REQUIRED, UNKNOWN } from "../rules.js";
import type { StateCalls } from "./calls.js";

type Calls = Record<string, (at: StateCalls, storeName: string, key: string) => Promise<unknown>>;

const CALLS: Calls = {
  GetState: ({ runtime }, storeName, key) => runtime.getState({ storeName, key }),
  GetBulkState: ({ runtime }, storeName, key) => runtime.getBulkState({ storeName, keys: [key] }),
  SaveState: ({ runtime }, storeName, key) => runtime.saveState({ storeName, states: [{ key }] }),
  DeleteState: ({ runtime }, storeName, key) => runtime.deleteState({ storeName, key }),
  DeleteBulkState: ({ runtime }, storeName, key) => runtime.deleteBulkState({ storeName, states: [{ key }] }),
  ExecuteStateTransaction: ({ runtime }, storeName, key) =>
    runtime.executeStateTransaction({
      storeName,
      operations: [{ operationType: "delete", request: { key } }],
    }),
};

const KEY_FIELD: Record<string, string> = {
  GetState: "key",
  GetBulkState: "keys[0]",
  SaveState: "states[0].key",
  DeleteState: "key",
  DeleteBulkState: "states[0].key",
  ExecuteStateTransaction: "operations[0].request.key",
};

/** Requests that the state RPCs refuse. */
export function stateRefusalCases(on: DeclareCase<StateCalls>): void {
  for (const [rpc, call] of Object.entries(CALLS)) {
    const storeField = rpc === "ExecuteStateTransaction" ? "storeName" : "store_name";
    on(REQUIRED, `${rpc} without a key is invalid_argument, naming the field`, async (at) => {
      await expectMalformed(call(at, at.storeName, ""), KEY_FIELD[rpc] ?? "");
    });

    on(
      REQUIRED,
      `${rpc} without a store, or with a malformed name of one, is invalid_argument`,
      async (at) => {
        for (const name of ["", "a\u0000b", "a\nb", "x".repeat(256)]) {
          await expectMalformed(call(at, name, at.key("k")), storeField, JSON.stringify(name));
        }
      },
    );

    on(UNKNOWN, `${rpc} of a store that is not configured is invalid_argument, naming it`, async (at) => {
      for (const name of UNKNOWN_NAMES)
        await expectUnconfigured(call(at, name, at.key("k")), "state store", name);
    });
  }

  on(REQUIRED, "a consistency that is none is invalid_argument", async (at) => {
    const key = at.key("k");
    const read = at.runtime.getState({ storeName: at.storeName, key, consistency: 99 as never });
    await expectMalformed(read, "consistency");
    await expectMalformed(
      at.save("k", "v", { options: { consistency: 3 as never } }),
      "states[0].options.consistency",
    );
  });

  on(REQUIRED, "a concurrency that is none is invalid_argument", async (at) => {
    const options = { concurrency: 7 as never };
    await expectMalformed(at.save("k", "v", { options }), "states[0].options.concurrency");
    const remove = at.runtime.deleteState({ storeName: at.storeName, key: at.key("k"), options });
    await expectMalformed(remove, "options.concurrency");
  });

  on(REQUIRED, "a transaction's operation without a request is invalid_argument", async (at) => {
    const operations = [{ operationType: "upsert" }];
    const call = at.runtime.executeStateTransaction({ storeName: at.storeName, operations });
    await expectMalformed(call, "operations[0].request");
  });

  on(REQUIRED, "an empty key later in a bulk read is named by its place", async (at) => {
    const keys = [at.key("a"), at.key("b"), ""];
    await expectMalformed(at.runtime.getBulkState({ storeName: at.storeName, keys }), "keys[2]");
  });
}
