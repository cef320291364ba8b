import assert from "node:assert/strict";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import fc from "fast-check";
import { test, vi } from "vitest";
import {
  LockKeepAliveResponse_Status,
  Runtime,
  UnlockResponse_Status,
} from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { conflictFacts } from "../../src/client/errors.js";
import { createLock } from "../../src/client/lock.js";
import { createState } from "../../src/client/state.js";
import { asyncDispose } from "../../src/lib/dispose.js";
import { sleep } from "../../src/rpc/sleep.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { intercept } from "../support/intercept.js";
import { forEachProtocol, openInProcess } from "../support/protocols.js";

forEachProtocol("unary", (open) => {
  test("tryAcquire() holds until release(), and the next holder has the higher fence", async () => {
    await using at = await open();
    const locks = createLock(at.transport, "default");
    const first = await locks.tryAcquire("order-111");
    assert.ok(first?.fence && first.ttlRemainingMs > 20_000 && !first.signal.aborted);
    assert.equal(await locks.tryAcquire("order-111"), undefined);
    await using other = await locks.tryAcquire("order || 钥匙 🔑");
    assert.ok(other);
    assert.equal(await first.release(), true);
    const second = await locks.tryAcquire("order-111");
    assert.ok(second?.fence && second.fence > first.fence);
    assert.equal(await second.release(), true);
  });

  test("a write under the fence of a lock that has been granted again is refused", async () => {
    await using at = await open();
    const locks = createLock(at.transport, "default");
    const state = createState<string>(at.transport, "default");
    const old = await locks.acquire("a/b=c, 钥匙");
    await state.set("k", "old", { fence: old });
    await old.release();
    await state.set("k", "late, but no one else was there", { fence: old });
    await using now = await locks.acquire("a/b=c, 钥匙");
    await state.set("k", "new", { fence: now });
    const late = await state.set("k", "late", { fence: old }).catch((error: unknown) => error);
    assert.equal((late as ConnectError).code, Code.Aborted);
    assert.equal(conflictFacts(late)?.fence, now.fence);
    assert.equal((await state.get("k"))?.value, "new");
  });
});

test("a server whose wall clock is set does not grant a lock that is held", async () => {
  await using at = await openInProcess();
  // A client in the same process would see its own clock jump.
  const runtime = createClient(Runtime, at.transport);
  const lock = { storeName: "default", resourceId: "r", expire: 5 };
  assert.equal((await runtime.tryLock({ ...lock, lockOwner: "ada" })).success, true);
  const state = createState<string>(at.transport, "default");
  await state.set("k", "v", { ttlMs: 5000 });
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 10_000 });
  try {
    assert.equal((await runtime.tryLock({ ...lock, lockOwner: "bob" })).success, false);
    const { status } = await runtime.lockKeepAlive({ ...lock, lockOwner: "ada" });
    assert.equal(status, LockKeepAliveResponse_Status.SUCCESS);
    vi.setSystemTime(Date.now() - 3_600_000);
    const left = (await state.get("k"))?.ttlRemainingMs ?? 0;
    assert.ok(left > 2000 && left <= 5000, `${left} ms`);
  } finally {
    vi.useRealTimers();
  }
});

test("tryAcquire() of 64 at once lets exactly one win", async () => {
  await using at = await openInProcess();
  const locks = Array.from({ length: 64 }, () => createLock(at.transport, "default"));
  for (let round = 0; round < 5; round++) {
    const held = (await Promise.all(locks.map((lock) => lock.tryAcquire("r")))).filter((each) => each);
    assert.equal(held.length, 1);
    assert.equal(await held[0]?.release(), true);
  }
});

test("acquire() of several at once lets them in one after the other, with growing fences", async () => {
  await using at = await openInProcess();
  const lock = createLock(at.transport, "default");
  const fences: bigint[] = [];
  let inside = 0;
  const one = () =>
    lock.withLock("r", async (held) => {
      assert.equal(++inside, 1);
      fences.push(held.fence ?? 0n);
      await sleep(1);
      inside--;
    });
  await Promise.all(Array.from({ length: 8 }, one));
  assert.equal(fences.length, 8);
  assert.deepEqual(
    fences,
    [...new Set(fences)].sort((a, b) => Number(a - b)),
  );
});

test("any sequence of calls and pauses gives the results of a model of the lock", async () => {
  const { SUCCESS, LOCK_UNEXIST, LOCK_BELONG_TO_OTHERS } = UnlockResponse_Status;
  const step = fc.record({
    what: fc.constantFrom("tryLock", "unlock", "lockKeepAlive", "pass"),
    lockOwner: fc.constantFrom("ada", "bob", "cy"),
    resourceId: fc.constantFrom("a", "b"),
    expire: fc.integer({ min: 1, max: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      let now = 0;
      await using at = await openInProcess({ engine: memoryEngine({ now: () => now }) });
      const runtime = createClient(Runtime, at.transport);
      const model = new Map<string, { owner: string; endsAt: number }>();
      let fence = 0n;
      for (const { what, lockOwner, resourceId, expire } of steps) {
        const claim = { storeName: "default", resourceId, lockOwner };
        const known = model.get(resourceId);
        const held = known && known.endsAt > now ? known : undefined;
        const lease = { owner: lockOwner, endsAt: now + expire * 1000 };
        const status = !held ? LOCK_UNEXIST : held.owner === lockOwner ? SUCCESS : LOCK_BELONG_TO_OTHERS;
        if (what === "pass") {
          now += expire * 500;
        } else if (what === "tryLock") {
          let told = 0n;
          const onHeader = (headers: Headers) => {
            told = BigInt(headers.get("fairlead-fence") ?? 0);
          };
          const { success } = await runtime.tryLock({ ...claim, expire }, { onHeader });
          assert.equal(success, !held);
          assert.ok(success ? told > fence : told === 0n);
          if (success) model.set(resourceId, lease);
          if (success) fence = told;
        } else if (what === "unlock") {
          assert.equal((await runtime.unlock(claim)).status, status);
          if (status === SUCCESS) model.delete(resourceId);
        } else {
          assert.equal((await runtime.lockKeepAlive({ ...claim, expire })).status, status);
          if (status === SUCCESS) model.set(resourceId, lease);
        }
      }
    }),
    { numRuns: 50 },
  );
});

test("acquire() fails with Code.DeadlineExceeded after waitMs, and after timeoutMs", async () => {
  await using at = await openInProcess();
  let asked = 0;
  const counted = intercept(at.transport, ({ method, send }) => {
    if (method === "TryLock") asked++;
    return send();
  });
  await using held = await createLock(at.transport, "default").acquire("r");
  const lock = createLock(counted, "default");
  await assert.rejects(lock.acquire("r", { waitMs: 0 }), { code: Code.DeadlineExceeded });
  assert.equal(asked, 1);
  for (const patience of [{ waitMs: 60 }, { timeoutMs: 60 }, { waitMs: 60, timeoutMs: 5000 }]) {
    const began = performance.now();
    await assert.rejects(lock.acquire("r", patience), { code: Code.DeadlineExceeded });
    const tookMs = performance.now() - began;
    assert.ok(tookMs >= 55 && tookMs < 3000, `${tookMs}`);
  }
  assert.equal(held.signal.aborted, false);
});

test("acquire() fails with Code.Canceled once its signal aborts", async () => {
  await using at = await openInProcess();
  const lock = createLock(at.transport, "default");
  await using _held = await lock.acquire("r");
  const enough = new AbortController();
  const waiting = lock.acquire("r", { signal: enough.signal });
  await sleep(20);
  enough.abort();
  await assert.rejects(waiting, { code: Code.Canceled });
  await assert.rejects(lock.tryAcquire("free", { signal: enough.signal }), { code: Code.Canceled });
});

test("the signal of acquire() has no effect after the lock is acquired", async () => {
  await using at = await openInProcess();
  const asking = new AbortController();
  const held = await createLock(at.transport, "default").acquire("r", { signal: asking.signal });
  asking.abort();
  assert.equal(held.signal.aborted, false);
  assert.equal(await held.release(), true);
});

test("acquire() fails if the server is unavailable at first, and waits for a server that has answered before", async () => {
  await using at = await openInProcess();
  const holder = await createLock(at.transport, "default").acquire("r");
  let away = true;
  let refusals = 0;
  const lossy = intercept(at.transport, async ({ method, send }) => {
    if (method === "TryLock" && away) {
      refusals++;
      throw new ConnectError("away", Code.Unavailable);
    }
    return send();
  });
  const lock = createLock(lossy, "default");
  await assert.rejects(lock.acquire("r"), { code: Code.Unavailable });
  away = false;
  const waiting = lock.acquire("r");
  await sleep(5);
  away = true;
  await holder.release();
  while (refusals < 3) await sleep(10);
  away = false;
  assert.equal(await (await waiting).release(), true);
});

test("release() a second time returns the result of the first", async () => {
  await using at = await openInProcess();
  let unlocks = 0;
  const counted = intercept(at.transport, ({ method, send }) => {
    if (method === "Unlock") unlocks++;
    return send();
  });
  const lock = createLock(counted, "default");
  const held = await lock.acquire("r");
  assert.deepEqual(await Promise.all([held.release(), held.release()]), [true, true]);
  await using next = await lock.acquire("r");
  assert.equal(await held.release(), true);
  await held[asyncDispose]();
  assert.equal(unlocks, 1);
  assert.equal(next.signal.aborted, false);
  assert.equal(await lock.tryAcquire("r"), undefined);
});

test("release() aborts the signal, and returns false if the lock was not held any more", async () => {
  await using at = await openInProcess();
  const held = await createLock(at.transport, "default").acquire("r");
  await createClient(Runtime, at.transport).unlock({
    storeName: "default",
    resourceId: "r",
    lockOwner: held.owner,
  });
  assert.equal(await held.release(), false);
  assert.ok(held.signal.reason instanceof ConnectError);
  assert.equal(held.signal.reason.code, Code.Aborted);
  assert.match(held.signal.reason.message, /the lock on "r" was released/);
  assert.equal(held.ttlRemainingMs, 0);
});

test("release() can be called again if it failed; leaving the scope does not fail", async () => {
  await using at = await openInProcess();
  let away = true;
  const lossy = intercept(at.transport, async ({ method, send }) => {
    if (method === "Unlock" && away) throw new ConnectError("away", Code.Unavailable);
    return send();
  });
  const lock = createLock(lossy, "default");
  const held = await lock.acquire("r");
  await assert.rejects(held.release(), { code: Code.Unavailable });
  await held[asyncDispose]();
  assert.equal(await lock.withLock("other", () => "done"), "done");
  away = false;
  assert.equal(await held.release(), true);
});

test("withLock() returns the result of its task, and releases the lock also if the task fails", async () => {
  await using at = await openInProcess();
  const lock = createLock(at.transport, "default");
  assert.equal(await lock.withLock("r", async ({ fence }) => typeof fence), "bigint");
  await assert.rejects(
    lock.withLock("r", () => {
      throw new TypeError("mine");
    }),
    { name: "TypeError", message: "mine" },
  );
  assert.equal(await lock.withLock("r", async (held) => held.release()), true);
  await using held = await lock.tryAcquire("r");
  assert.ok(held);
});

test("ttlMs is rounded up to whole seconds, and one beyond int32 seconds is a RangeError", async () => {
  await using at = await openInProcess();
  const asked: unknown[] = [];
  const seen = intercept(at.transport, ({ method, message, send }) => {
    if (method === "TryLock") asked.push(message["expire"]);
    return send();
  });
  const lock = createLock(seen, "default");
  for (const ttlMs of [undefined, 1, 1000, 1001]) await (await lock.acquire("r", { ttlMs })).release();
  assert.deepEqual(asked, [30, 1, 1, 2]);
  for (const ttlMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31 * 1000]) {
    await assert.rejects(lock.tryAcquire("r", { ttlMs }), RangeError);
  }
  for (const waitMs of [-1, Number.NaN]) await assert.rejects(lock.acquire("r", { waitMs }), RangeError);
});

test("tryAcquire() passes the response headers to the caller's onHeader", async () => {
  await using at = await openInProcess();
  let told: string | null = null;
  const onHeader = (headers: Headers) => {
    told = headers.get("fairlead-fence");
  };
  await using held = await createLock(at.transport, "default").acquire("r", { onHeader });
  assert.equal(told, String(held.fence));
});

/** Blocks the event loop for `ms`. */
const block = (ms: number) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

test("withLock() fails with Code.Aborted if the event loop was blocked until after the lease", async () => {
  await using at = await openInProcess();
  const lock = createLock(at.transport, "default");
  const blocked = lock.withLock("r", () => block(1500), { ttlMs: 1000 });
  await assert.rejects(blocked, {
    code: Code.Aborted,
    message: /lease ended: nothing could run here for so long/,
  });
});

test("a lock's signal is correct immediately after the event loop was blocked", async () => {
  await using at = await openInProcess();
  const held = await createLock(at.transport, "default").acquire("r", { ttlMs: 1000 });
  const { signal } = held;
  let events = 0;
  signal.addEventListener("abort", () => events++);
  assert.equal(signal.aborted, false);
  assert.equal(signal.reason, undefined);
  signal.throwIfAborted();
  block(1500);
  assert.equal(signal.aborted, true);
  assert.equal(events, 1);
  assert.throws(() => signal.throwIfAborted(), { code: Code.Aborted });
  assert.equal(ConnectError.from(signal.reason).code, Code.Aborted);
  await assert.rejects(createState(at.transport, "s").get("k", { signal }), { code: Code.Aborted });
  assert.equal(await held.release(), false);
});

test("a server without fences and LockKeepAlive grants locks, and writes under them are refused", async () => {
  const owners = new Map<string, string>();
  const go = createRouterTransport((router) =>
    router.service(Runtime, {
      tryLock({ resourceId, lockOwner }) {
        if (owners.has(resourceId)) return { success: false };
        owners.set(resourceId, lockOwner);
        return { success: true };
      },
      unlock({ resourceId, lockOwner }) {
        // An unknown status for everyone but the owner.
        if (owners.get(resourceId) !== lockOwner) return { status: 99 as never };
        owners.delete(resourceId);
        return {};
      },
      lockKeepAlive() {
        throw new ConnectError("grpc: error while marshaling: proto: Marshal called with nil", Code.Internal);
      },
    }),
  );
  const lock = createLock(go, "redis");
  const held = await lock.acquire("r");
  assert.equal(await lock.tryAcquire("r"), undefined);
  assert.equal(held.fence, undefined);
  await assert.rejects(createState(go, "s").set("k", 1, { fence: held }));
  owners.set("r", "someone else");
  assert.equal(await held.release(), false);
});
