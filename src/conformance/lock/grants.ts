import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { expectMalformed } from "../expect-refusal.js";
import { KeepAlive, type LockCalls, Unlock } from "./calls.js";

/** Cases of granting, extending and releasing locks. */
export function lockGrantCases(on: DeclareCase<LockCalls>): void {
  grantCases(on);
  lockExpiryCases(on);
  unlockCases(on);
  racingUnlockCases(on);
  keepAliveCases(on);
  extensionCases(on);
}

function grantCases(on: DeclareCase<LockCalls>): void {
  on("TryLock", "a lock that is free is granted, and one that is held is not", async (at) => {
    equal([await at.tryLock("ada"), await at.tryLock("bob")], [true, false]);
  });

  on("TryLock", "a lock is not re-entrant, not even for its own owner", async (at) => {
    equal([await at.tryLock("ada"), await at.tryLock("ada")], [true, false]);
  });

  on("TryLock", "locks on different resources do not meet", async (at) => {
    for (const resource of ["r", "R", "r||s", "r/s", "ä", "🔑"]) {
      ok(await at.tryLock("ada", { resource }), `${resource} is free`);
    }
  });

  on(["TryLock", "other stores"], "the same resource in another store is another lock", async (at) => {
    ok(await at.tryLock("ada"), "it is free here");
    const there = { storeName: at.stores.others?.lock ?? "", resourceId: at.own("r"), lockOwner: "bob" };
    at.after(() => at.runtime.unlock(there));
    ok((await at.runtime.tryLock({ ...there, expire: 60 })).success, "it is free there");
  });

  on("TryLock", "of many that try at once one is granted the lock", async (at) => {
    const tries = Array.from({ length: 16 }, (_, i) => at.tryLock(`owner-${i}`));
    equal((await Promise.all(tries)).filter((granted) => granted).length, 1);
  });

  on(["TryLock", "second client"], "a lock of one client keeps others out", async (at) => {
    const other = at.client(Runtime, await at.second());
    ok(await at.tryLock("ada"), "the first is granted the lock");
    const claim = { storeName: at.storeName, resourceId: at.own("r"), lockOwner: "bob", expire: 60 };
    equal((await other.tryLock(claim)).success, false);
    equal((await other.unlock({ ...claim })).status, Unlock.LOCK_BELONG_TO_OTHERS);
    equal((await other.unlock({ ...claim, lockOwner: "ada" })).status, Unlock.SUCCESS, "by the owner's name");
  });
}

function lockExpiryCases(on: DeclareCase<LockCalls>): void {
  for (const expire of [0, -1, -(2 ** 31)]) {
    on("TryLock", `an expire of ${expire} is invalid_argument`, async (at) => {
      await expectMalformed(at.tryLock("ada", { expire }), "expire");
      ok(await at.tryLock("bob"), "nothing was locked");
    });
  }

  on("TryLock", "expire may be as large as an int32", async (at) => {
    ok(await at.tryLock("ada", { expire: 2 ** 31 - 1 }), "it is granted");
    equal(await at.tryLock("bob"), false);
  });

  on(["TryLock", "time"], "a lock is free again once it has expired", async (at) => {
    ok(await at.tryLock("ada", { expire: 2 }), "it is free");
    equal(await at.tryLock("bob"), false);
    await at.pass(2100);
    ok(await at.tryLock("bob"), "it has expired");
  });

  on(
    ["TryLock", "clock"],
    "expire counts whole seconds, and the lock is free from the moment that they have passed",
    async (at) => {
      ok(await at.tryLock("ada", { expire: 2 }), "it is free");
      await at.pass(1999);
      equal(await at.tryLock("bob"), false);
      await at.pass(1);
      ok(await at.tryLock("bob"), "two seconds have passed");
    },
  );

  on(["TryLock", "time"], "another try of its own owner does not extend a lock", async (at) => {
    ok(await at.tryLock("ada", { expire: 2 }), "it is free");
    equal(await at.tryLock("ada", { expire: 60 }), false);
    await at.pass(2100);
    ok(await at.tryLock("bob"), "it has expired");
  });
}

function unlockCases(on: DeclareCase<LockCalls>): void {
  on("Unlock", "Unlock by the owner is SUCCESS, and frees the lock", async (at) => {
    await at.tryLock("ada");
    equal(await at.unlock("ada"), Unlock.SUCCESS);
    ok(await at.tryLock("bob"), "it is free");
  });

  on("Unlock", "Unlock of what was never locked is LOCK_UNEXIST", async (at) => {
    equal(await at.unlock("ada"), Unlock.LOCK_UNEXIST);
  });

  on("Unlock", "a second Unlock is LOCK_UNEXIST", async (at) => {
    await at.tryLock("ada");
    await at.unlock("ada");
    equal(await at.unlock("ada"), Unlock.LOCK_UNEXIST);
  });

  on("Unlock", "Unlock by someone else is LOCK_BELONG_TO_OTHERS, and frees nothing", async (at) => {
    await at.tryLock("ada");
    for (const other of ["bob", "Ada", "ada "]) {
      equal(await at.unlock(other), Unlock.LOCK_BELONG_TO_OTHERS, other);
    }
    equal(await at.tryLock("bob"), false);
  });

  on("Unlock", "an owner that lost the lock to another does not free it", async (at) => {
    await at.tryLock("ada");
    await at.unlock("ada");
    await at.tryLock("bob");
    equal(await at.unlock("ada"), Unlock.LOCK_BELONG_TO_OTHERS);
    equal(await at.unlock("bob"), Unlock.SUCCESS);
  });

  on(["Unlock", "time"], "Unlock after expiry is LOCK_UNEXIST, for the owner and for others", async (at) => {
    await at.tryLock("ada", { expire: 2 });
    await at.pass(2100);
    equal([await at.unlock("ada"), await at.unlock("bob")], [Unlock.LOCK_UNEXIST, Unlock.LOCK_UNEXIST]);
  });
}

function racingUnlockCases(on: DeclareCase<LockCalls>): void {
  on("Unlock", "of many that unlock at once one gets SUCCESS", async (at) => {
    await at.tryLock("ada");
    const statuses = await Promise.all(Array.from({ length: 16 }, () => at.unlock("ada")));
    equal(statuses.filter((status) => status === Unlock.SUCCESS).length, 1);
    equal(statuses.filter((status) => status === Unlock.LOCK_UNEXIST).length, 15);
  });

  on(
    ["Unlock", "extensions"],
    "a race with LockKeepAlive and TryLock leaves either a freed lock or a held one",
    async (at) => {
      for (let round = 0; round < 5; round++) {
        await at.tryLock("ada");
        const racing = [at.keepAlive("ada"), at.unlock("ada"), at.tryLock("bob")] as const;
        const [kept, unlocked, granted] = await Promise.all(racing);
        ok(kept !== KeepAlive.INTERNAL_ERROR, "LockKeepAlive knows what came of it");
        equal(unlocked, Unlock.SUCCESS);
        equal(await at.unlock("bob"), granted ? Unlock.SUCCESS : Unlock.LOCK_UNEXIST);
      }
    },
  );
}

function keepAliveCases(on: DeclareCase<LockCalls>): void {
  on("LockKeepAlive", "LockKeepAlive by the owner is SUCCESS", async (at) => {
    await at.tryLock("ada");
    equal(await at.keepAlive("ada"), KeepAlive.SUCCESS);
    equal(await at.tryLock("bob"), false);
  });

  on(
    "LockKeepAlive",
    "LockKeepAlive of what is not locked is LOCK_UNEXIST, and locks nothing",
    async (at) => {
      equal(await at.keepAlive("ada"), KeepAlive.LOCK_UNEXIST);
      ok(await at.tryLock("bob"), "it is free");
    },
  );

  on("LockKeepAlive", "LockKeepAlive by someone else is LOCK_BELONG_TO_OTHERS", async (at) => {
    await at.tryLock("ada");
    equal(await at.keepAlive("bob"), KeepAlive.LOCK_BELONG_TO_OTHERS);
    equal(await at.unlock("ada"), Unlock.SUCCESS);
  });

  on("LockKeepAlive", "LockKeepAlive after Unlock is LOCK_UNEXIST", async (at) => {
    await at.tryLock("ada");
    await at.unlock("ada");
    equal(await at.keepAlive("ada"), KeepAlive.LOCK_UNEXIST);
  });
}

function extensionCases(on: DeclareCase<LockCalls>): void {
  on(["LockKeepAlive", "time"], "LockKeepAlive extends the lock by expire", async (at) => {
    await at.tryLock("ada", { expire: 2 });
    equal(await at.keepAlive("ada", 60), KeepAlive.SUCCESS);
    await at.pass(2100);
    equal(await at.tryLock("bob"), false);
  });

  on(["LockKeepAlive", "time"], "LockKeepAlive counts from now, also where that ends sooner", async (at) => {
    await at.tryLock("ada", { expire: 3600 });
    equal(await at.keepAlive("ada", 2), KeepAlive.SUCCESS);
    await at.pass(2100);
    ok(await at.tryLock("bob"), "it has expired");
  });

  on(["LockKeepAlive", "clock"], "LockKeepAlive extends from its own moment on", async (at) => {
    await at.tryLock("ada", { expire: 10 });
    await at.pass(9000);
    equal(await at.keepAlive("ada", 2), KeepAlive.SUCCESS);
    await at.pass(1999);
    equal(await at.tryLock("bob"), false);
    await at.pass(1);
    ok(await at.tryLock("bob"), "two seconds have passed");
  });

  on(
    ["LockKeepAlive", "time"],
    "LockKeepAlive after expiry is LOCK_UNEXIST, and others may have the lock",
    async (at) => {
      await at.tryLock("ada", { expire: 2 });
      await at.pass(2100);
      equal(await at.keepAlive("ada"), KeepAlive.LOCK_UNEXIST);
      await at.tryLock("bob");
      equal(await at.keepAlive("ada"), KeepAlive.LOCK_BELONG_TO_OTHERS);
    },
  );

  on("LockKeepAlive", "many LockKeepAlive at once are all SUCCESS", async (at) => {
    await at.tryLock("ada");
    const statuses = await Promise.all(Array.from({ length: 8 }, () => at.keepAlive("ada")));
    equal(
      statuses.filter((status) => status !== KeepAlive.SUCCESS),
      [],
    );
  });

  on("LockKeepAlive", "an expire of 0 or less is invalid_argument, and changes nothing", async (at) => {
    await at.tryLock("ada");
    for (const expire of [0, -1]) await expectMalformed(at.keepAlive("ada", expire), "expire");
    equal(await at.unlock("ada"), Unlock.SUCCESS);
  });
}
