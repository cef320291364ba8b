import { type Case, casesOf, type DeclareCase } from "./case.js";
import { ok } from "./expect.js";
import { expectLimit, expectMalformed, expectUnconfigured, UNKNOWN_NAMES } from "./expect-refusal.js";
import { type LockCalls, lockCalls } from "./lock/calls.js";
import { lockFenceCases } from "./lock/fences.js";
import { lockGrantCases } from "./lock/grants.js";
import { lockHistoryCases } from "./lock/histories.js";
import { LIMIT, REQUIRED, UNKNOWN } from "./rules.js";

const RPCS = ["tryLock", "unlock", "lockKeepAlive"] as const;

/** The cases of locks. */
export const lockCases: readonly Case[] = casesOf("lock", lockCalls, [
  lockGrantCases,
  lockFenceCases,
  lockRefusalCases,
  lockHistoryCases,
]);

/** Requests that the lock RPCs refuse. */
function lockRefusalCases(on: DeclareCase<LockCalls>): void {
  for (const rpc of RPCS) {
    const name = rpc[0]?.toUpperCase() + rpc.slice(1);
    const whole = (at: LockCalls) => ({
      storeName: at.storeName,
      resourceId: at.own("r"),
      lockOwner: "ada",
      expire: 1,
    });
    on(
      REQUIRED,
      `${name} needs a store, a resource and an owner, each named where it is empty`,
      async (at) => {
        const call = at.runtime[rpc];
        await expectMalformed(call({ ...whole(at), storeName: "" }), "store_name");
        await expectMalformed(call({ ...whole(at), storeName: "a\u0000b" }), "store_name");
        await expectMalformed(call({ ...whole(at), resourceId: "" }), "resource_id");
        await expectMalformed(call({ ...whole(at), lockOwner: "" }), "lock_owner");
      },
    );

    on(UNKNOWN, `${name} of a store that is not configured is invalid_argument, naming it`, async (at) => {
      for (const storeName of UNKNOWN_NAMES) {
        await expectUnconfigured(at.runtime[rpc]({ ...whole(at), storeName }), "lock store", storeName);
      }
    });

    on(LIMIT, `${name} of a resource or an owner above 1024 bytes is resource_exhausted`, async (at) => {
      const call = at.runtime[rpc];
      await expectLimit(call({ ...whole(at), resourceId: `r${"é".repeat(512)}` }), "keyBytes");
      await expectLimit(call({ ...whole(at), lockOwner: "a".repeat(1025) }), "keyBytes");
    });
  }

  on("TryLock", "a resource and an owner may have 1024 bytes", async (at) => {
    const resource = "r".repeat(1024 - at.own("").length);
    ok(await at.tryLock("é".repeat(512), { resource }), "it is granted");
  });
}
