import assert from "node:assert/strict";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import {
  LockKeepAliveResponse_Status as KeepAlive,
  Runtime,
  UnlockResponse_Status as Unlock,
} from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { utf8 } from "../../src/internal/utf8.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import type { ServerOptions } from "../../src/server/server.js";
import { openHere } from "../doors.js";

const storeName = "default";

/** A server whose clock stands still but for `pass`, and its lock RPCs on the resource "r". */
async function open(options?: ServerOptions) {
  let now = Date.now();
  const at = await openHere({ engine: memoryEngine({ now: () => now }), ...options });
  const runtime = createClient(Runtime, at.transport);
  const claim = (lockOwner: string, resourceId: string) => ({ storeName, resourceId, lockOwner });
  return {
    server: at.server,
    runtime,
    pass(ms: number) {
      now += ms;
    },
    /** The fence of the grant; undefined where it was none. */
    async tryLock(owner: string, { expire = 10, resource = "r" } = {}): Promise<bigint | undefined> {
      let fence: string | null = null;
      const onHeader = (headers: Headers) => {
        fence = headers.get("fairlead-fence");
      };
      const { success } = await runtime.tryLock({ ...claim(owner, resource), expire }, { onHeader });
      assert.equal(fence !== null, success);
      return fence === null ? undefined : BigInt(fence);
    },
    unlock: async (owner: string, resource = "r") => (await runtime.unlock(claim(owner, resource))).status,
    async keepAlive(owner: string, expire = 10) {
      let fence: string | null = null;
      const onHeader = (headers: Headers) => {
        fence = headers.get("fairlead-fence");
      };
      const { status } = await runtime.lockKeepAlive({ ...claim(owner, "r"), expire }, { onHeader });
      return { status, fence: fence === null ? undefined : BigInt(fence) };
    },
    save: (key: string, fence: string) =>
      runtime.saveState(
        { storeName, states: [{ key, value: utf8(fence) }] },
        { headers: { "fairlead-fence": fence } },
      ),
    get: async (key: string) => (await runtime.getState({ storeName, key })).data.length,
    [Symbol.asyncDispose]: at[Symbol.asyncDispose],
  };
}

/** The error that a call fails with. */
async function failure(call: Promise<unknown>): Promise<ConnectError> {
  const error = await call.then(
    () => assert.fail("it did not fail"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ConnectError);
  return error;
}

test("TryLock: not re-entrant, not even for its own owner", async () => {
  await using at = await open();
  assert.ok(await at.tryLock("ada"));
  assert.equal(await at.tryLock("ada"), undefined);
  assert.equal(await at.tryLock("bob"), undefined);
  assert.ok(await at.tryLock("bob", { resource: "other" }));
});

test("TryLock: expire counts whole seconds, and the lock is free from the moment that they have passed", async () => {
  await using at = await open();
  assert.ok(await at.tryLock("ada", { expire: 2 }));
  at.pass(1999);
  assert.equal(await at.tryLock("bob"), undefined);
  at.pass(1);
  assert.ok(await at.tryLock("bob"));
});

test("TryLock: a second try of its own owner does not extend the lock", async () => {
  await using at = await open();
  assert.ok(await at.tryLock("ada", { expire: 2 }));
  at.pass(1000);
  assert.equal(await at.tryLock("ada", { expire: 60 }), undefined);
  at.pass(1000);
  assert.ok(await at.tryLock("bob"));
});

test("TryLock: expire of 0 or less is refused", async () => {
  await using at = await open();
  for (const expire of [0, -1, -(2 ** 31)]) {
    const error = await failure(at.tryLock("ada", { expire }));
    assert.equal(error.code, Code.InvalidArgument);
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, "expire");
  }
  assert.ok(await at.tryLock("ada", { expire: 2 ** 31 - 1 }));
});

test("TryLock: the fence grows with every grant of the resource, after a release, after expiry, to anyone", async () => {
  await using at = await open();
  let last = 0n;
  for (const [owner, end] of [
    ["ada", () => at.unlock("ada")],
    ["ada", () => at.pass(10_000)],
    ["bob", () => at.pass(60_000)],
    ["ada", () => at.pass(30 * 24 * 3_600_000)],
    ["bob", () => at.unlock("bob")],
  ] as const) {
    const fence = (await at.tryLock(owner)) ?? 0n;
    assert.ok(fence > last, `${fence} after ${last}`);
    last = fence;
    await end();
  }
});

test("TryLock: its fence goes with SaveState until there is a newer grant, which refuses it with aborted", async () => {
  await using at = await open();
  const old = await at.tryLock("ada");
  await at.save("held", `default/r=${old}`);
  await at.unlock("ada");
  await at.save("released", `default/r=${old}`);
  const now = await at.tryLock("bob");
  const error = await failure(at.save("late", `default/r=${old}`));
  assert.equal(error.code, Code.Aborted);
  const info = error.findDetails(ErrorInfoSchema)[0];
  assert.deepEqual([info?.metadata["key"], info?.metadata["fence"]], ["r", String(now)]);
  await at.save("new", `default/r=${now}`);
  const stored = await Promise.all(["held", "released", "late", "new"].map(at.get));
  assert.deepEqual(
    stored.map((length) => length > 0),
    [true, true, false, true],
  );
});

test("TryLock: a fence of a resource that was never locked, or that was made up, is refused", async () => {
  await using at = await open();
  const fence = (await at.tryLock("ada")) ?? 0n;
  for (const made of [`default/other=1`, `default/r=${fence + 1n}`, `default/R=${fence}`]) {
    assert.equal((await failure(at.save("k", made))).code, Code.Aborted, made);
  }
  for (const malformed of ["", "default", "r=1", "default/r", "default/r=0", "default/r=-1", "default/r=x"]) {
    assert.equal((await failure(at.save("k", malformed))).code, Code.InvalidArgument, malformed);
  }
});

test("Unlock: SUCCESS, LOCK_UNEXIST or LOCK_BELONG_TO_OTHERS, all with status OK", async () => {
  await using at = await open();
  assert.equal(await at.unlock("ada"), Unlock.LOCK_UNEXIST);
  await at.tryLock("ada");
  assert.equal(await at.unlock("bob"), Unlock.LOCK_BELONG_TO_OTHERS);
  assert.equal(await at.tryLock("bob"), undefined);
  assert.equal(await at.unlock("ada"), Unlock.SUCCESS);
  assert.equal(await at.unlock("ada"), Unlock.LOCK_UNEXIST);
  assert.ok(await at.tryLock("bob"));
});

test("Unlock: LOCK_UNEXIST also after expiry, for the owner and for others", async () => {
  await using at = await open();
  await at.tryLock("ada", { expire: 1 });
  at.pass(1000);
  assert.equal(await at.unlock("ada"), Unlock.LOCK_UNEXIST);
  assert.equal(await at.unlock("bob"), Unlock.LOCK_UNEXIST);
});

test("Unlock: of many at once, one frees the lock", async () => {
  await using at = await open();
  await at.tryLock("ada");
  const statuses = await Promise.all(Array.from({ length: 64 }, () => at.unlock("ada")));
  assert.equal(statuses.filter((status) => status === Unlock.SUCCESS).length, 1);
  assert.equal(statuses.filter((status) => status === Unlock.LOCK_UNEXIST).length, 63);
});

test("Unlock: a race with LockKeepAlive and TryLock leaves either a freed lock or a held one", async () => {
  await using at = await open();
  for (let round = 0; round < 20; round++) {
    await at.tryLock("ada");
    const racing = [at.keepAlive("ada"), at.unlock("ada"), at.tryLock("bob")] as const;
    const [kept, unlocked, granted] = await Promise.all(racing);
    assert.deepEqual([kept.status, unlocked], [KeepAlive.SUCCESS, Unlock.SUCCESS]);
    assert.equal(await at.unlock("bob"), granted === undefined ? Unlock.LOCK_UNEXIST : Unlock.SUCCESS);
  }
});

test("LockKeepAlive: extends by expire from now, and keeps the fence", async () => {
  await using at = await open();
  const fence = await at.tryLock("ada", { expire: 10 });
  at.pass(9000);
  assert.deepEqual(await at.keepAlive("ada", 2), { status: KeepAlive.SUCCESS, fence });
  await at.save("k", `default/r=${fence}`);
  at.pass(1999);
  assert.equal(await at.tryLock("bob"), undefined);
  at.pass(1);
  assert.ok(await at.tryLock("bob"));
});

test("LockKeepAlive: from now also where that is sooner than before", async () => {
  await using at = await open();
  await at.tryLock("ada", { expire: 3600 });
  assert.equal((await at.keepAlive("ada", 1)).status, KeepAlive.SUCCESS);
  at.pass(1000);
  assert.ok(await at.tryLock("bob"));
});

test("LockKeepAlive: many at once all extend the lock", async () => {
  await using at = await open();
  const fence = await at.tryLock("ada", { expire: 1 });
  const answers = await Promise.all(Array.from({ length: 16 }, () => at.keepAlive("ada", 5)));
  for (const answer of answers) assert.deepEqual(answer, { status: KeepAlive.SUCCESS, fence });
  at.pass(4999);
  assert.equal(await at.tryLock("bob"), undefined);
});

test("LockKeepAlive: statuses as Unlock; lock_owner must match", async () => {
  await using at = await open();
  assert.deepEqual(await at.keepAlive("ada"), { status: KeepAlive.LOCK_UNEXIST, fence: undefined });
  await at.tryLock("ada", { expire: 1 });
  assert.deepEqual(await at.keepAlive("bob"), { status: KeepAlive.LOCK_BELONG_TO_OTHERS, fence: undefined });
  at.pass(1000);
  assert.equal((await at.keepAlive("ada")).status, KeepAlive.LOCK_UNEXIST);
  await at.tryLock("bob");
  assert.equal((await at.keepAlive("ada")).status, KeepAlive.LOCK_BELONG_TO_OTHERS);
});

test("a required field is empty, an enum number or a number is out of range, a name is malformed: invalid_argument, naming the field of a lock", async () => {
  await using at = await open();
  const whole = { storeName, resourceId: "r", lockOwner: "ada", expire: 1 };
  const { tryLock, unlock, lockKeepAlive } = at.runtime;
  const cases: [call: () => Promise<unknown>, field: string][] = [];
  for (const call of [tryLock, unlock, lockKeepAlive]) {
    cases.push([() => call({ ...whole, storeName: "" }), "store_name"]);
    cases.push([() => call({ ...whole, resourceId: "" }), "resource_id"]);
    cases.push([() => call({ ...whole, lockOwner: "" }), "lock_owner"]);
  }
  cases.push(
    [() => tryLock({ ...whole, expire: 0 }), "expire"],
    [() => lockKeepAlive({ ...whole, expire: -1 }), "expire"],
  );
  for (const [call, field] of cases) {
    const error = await failure(call());
    assert.equal(error.code, Code.InvalidArgument, field);
    assert.match(error.rawMessage, new RegExp(`^${field} `));
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, field);
  }
});

test("unknown store, pubsub, binding, hello or app: invalid_argument, naming the lock stores that are configured", async () => {
  await using at = await open({ config: { lock: { one: {}, two: {} } } });
  for (const name of ["nope", "__proto__", "default"]) {
    const claim = { storeName: name, resourceId: "r", lockOwner: "ada", expire: 1 };
    for (const call of [at.runtime.tryLock, at.runtime.unlock, at.runtime.lockKeepAlive]) {
      const error = await failure(call(claim));
      assert.equal(error.code, Code.InvalidArgument);
      assert.equal(error.rawMessage, `lock store "${name}" is not configured; configured: "one", "two"`);
    }
  }
  const fenced = await failure(at.save("k", "nope/r=1"));
  assert.equal(fenced.code, Code.InvalidArgument);
});

test("a limit is hit: resource_exhausted for a resource or an owner that is too long, naming the limit", async () => {
  await using at = await open();
  for (const call of [
    () => at.tryLock("ada", { resource: "é".repeat(513) }),
    () => at.tryLock("a".repeat(1025)),
    () => at.unlock("ada", "r".repeat(1025)),
  ]) {
    const error = await failure(call());
    assert.equal(error.code, Code.ResourceExhausted);
    assert.match(error.rawMessage, /keyBytes 1024/);
  }
  assert.ok(await at.tryLock("ada", { resource: "é".repeat(512) }));
});

test("the engine is away: unavailable for a lock, with how long to wait", async () => {
  const engine = memoryEngine();
  await using at = await open({ engine });
  await engine.close();
  for (const call of [at.tryLock, at.unlock, at.keepAlive]) {
    const error = await failure(call("ada"));
    assert.equal(error.code, Code.Unavailable);
    assert.ok(error.findDetails(RetryInfoSchema)[0]?.retryDelay);
  }
});
