import { Code } from "@connectrpc/connect";
import { FENCE_HEADER } from "../../rpc/extension-headers.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { errorMetadata, expectMalformed, expectRefusal, expectUnconfigured } from "../expect-refusal.js";
import { MISMATCH, UNKNOWN } from "../rules.js";
import type { LockCalls } from "./calls.js";

/** Cases of fences and of writes that carry them. */
export function lockFenceCases(on: DeclareCase<LockCalls>): void {
  grantFenceCases(on);
  fencedWriteCases(on);
  rejectedFenceCases(on);
}

function grantFenceCases(on: DeclareCase<LockCalls>): void {
  on(["TryLock", "extensions"], "a grant answers with its fence, and a refusal with none", async (at) => {
    await at.fence("ada");
    const claim = { storeName: at.storeName, resourceId: at.own("r"), lockOwner: "bob", expire: 60 };
    let header: string | null = "not received";
    const onHeader = (headers: Headers) => {
      header = headers.get(FENCE_HEADER);
    };
    equal((await at.runtime.tryLock(claim, { onHeader })).success, false);
    equal(header, null);
  });

  on(["TryLock", "extensions"], "the fence grows with every grant of the resource, to anyone", async (at) => {
    let last = 0n;
    for (const owner of ["ada", "ada", "bob", "ada"]) {
      const fence = await at.fence(owner);
      ok(fence > last, `${fence} after ${last}`);
      last = fence;
      await at.unlock(owner);
    }
  });

  on(["TryLock", "extensions", "time"], "the fence grows after expiry too", async (at) => {
    const before = await at.fence("ada", { expire: 2 });
    await at.pass(2100);
    ok((await at.fence("ada")) > before, "it has grown");
  });

  on(["TryLock", "extensions", "clock"], "the fence grows after a month", async (at) => {
    const before = await at.fence("ada", { expire: 2 });
    await at.pass(30 * 24 * 3_600_000);
    ok((await at.fence("bob")) > before, "it has grown");
  });

  on(["LockKeepAlive", "extensions"], "LockKeepAlive keeps the fence and tells it", async (at) => {
    const fence = await at.fence("ada");
    equal(await at.keptFence("ada"), fence);
    await at.save("k", at.header(fence));
    ok(await at.has("k"), "the write is there");
  });

  on(["LockKeepAlive", "extensions"], "LockKeepAlive tells no fence where there is no lock", async (at) => {
    equal(await at.keptFence("ada"), undefined);
    await at.fence("ada");
    await at.unlock("ada");
    equal(await at.keptFence("ada"), undefined, "the fence once the lock is freed");
  });
}

function fencedWriteCases(on: DeclareCase<LockCalls>): void {
  on(
    [MISMATCH, "extensions"],
    "a write under the newest fence goes through, also once the lock is freed",
    async (at) => {
      const fence = await at.fence("ada");
      await at.save("held", at.header(fence));
      await at.unlock("ada");
      await at.save("freed", at.header(fence));
      equal([await at.has("held"), await at.has("freed")], [true, true]);
    },
  );

  on(
    [MISMATCH, "extensions"],
    "a write under an older fence is aborted, with the resource and the newest fence",
    async (at) => {
      const old = await at.fence("ada");
      await at.unlock("ada");
      const now = await at.fence("bob");
      const error = await expectRefusal(at.save("k", at.header(old)), Code.Aborted);
      equal(errorMetadata(error), { key: at.own("r"), fence: String(now) });
      equal(await at.has("k"), false);
      await at.save("k", at.header(now));
    },
  );

  on(
    [MISMATCH, "extensions"],
    "every write of state heeds the fence: deletes and transactions too",
    async (at) => {
      const old = await at.fence("ada");
      await at.unlock("ada");
      await at.fence("bob");
      await at.save("k", {});
      const headers = at.header(old);
      const store = { storeName: at.stores.state };
      const key = at.own("k");
      await expectRefusal(at.runtime.deleteState({ ...store, key }, { headers }), Code.Aborted);
      await expectRefusal(
        at.runtime.deleteBulkState({ ...store, states: [{ key }] }, { headers }),
        Code.Aborted,
      );
      const operations = [{ operationType: "delete", request: { key } }];
      await expectRefusal(
        at.runtime.executeStateTransaction({ ...store, operations }, { headers }),
        Code.Aborted,
      );
      ok(await at.has("k"), "it is still there");
    },
  );
}

function rejectedFenceCases(on: DeclareCase<LockCalls>): void {
  on(
    [MISMATCH, "extensions"],
    "a fence of a resource that was never locked, or that was made up, is aborted",
    async (at) => {
      const fence = await at.fence("ada");
      for (const headers of [at.header(1n, "other"), at.header(fence + 1n), at.header(fence, "R")]) {
        await expectRefusal(at.save("k", headers), Code.Aborted, headers[FENCE_HEADER]);
      }
      equal(await at.has("k"), false);
    },
  );

  on([MISMATCH, "extensions"], "several fences with a comma must all hold", async (at) => {
    const [a, b] = [await at.fence("ada", { resource: "a" }), await at.fence("ada", { resource: "b" })];
    const both = (x: bigint, y: bigint) => ({
      [FENCE_HEADER]: `${at.header(x, "a")[FENCE_HEADER]}, ${at.header(y, "b")[FENCE_HEADER]}`,
    });
    await expectRefusal(at.save("k", both(a, b + 1n)), Code.Aborted);
    await expectRefusal(at.save("k", both(a + 1n, b)), Code.Aborted);
    await at.save("k", both(a, b));
    ok(await at.has("k"), "the write is there");
  });

  for (const form of ["", "s", "r=1", "s/r", "s/r=0", "s/r=-1", "s/r=x", "s/r=1.5", "%zz/r=1"]) {
    on([MISMATCH, "extensions"], `the fence "${form}" is invalid_argument`, async (at) => {
      const text = form.replace(/^s/, at.storeName);
      await expectMalformed(at.save("k", { [FENCE_HEADER]: text }), FENCE_HEADER);
      equal(await at.has("k"), false);
    });
  }

  on(
    [UNKNOWN, "extensions"],
    "a fence of a lock store that is not configured is invalid_argument",
    async (at) => {
      await expectUnconfigured(at.save("k", { [FENCE_HEADER]: "nope/r=1" }), "lock store", "nope");
    },
  );
}
