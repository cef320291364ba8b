import assert from "node:assert/strict";
import { Code, ConnectError, createClient, createRouterTransport, type Transport } from "@connectrpc/connect";
import { afterEach, beforeEach, test, vi } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createLock, type HeldLock } from "../../src/client/lock.js";
import { sleep } from "../../src/rpc/sleep.js";
import { type InterceptedCall, intercept } from "../support/intercept.js";
import { openInProcess } from "../support/protocols.js";

// Client and server share one fake clock, which the test advances.
beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] }));
afterEach(() => void vi.useRealTimers());

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** A server, a lock store whose calls go through `meet`, and another one without it. */
async function open(
  meet: (call: InterceptedCall) => ReturnType<InterceptedCall["send"]> = ({ send }) => send(),
) {
  const at = await openInProcess();
  const calls: string[] = [];
  const transport = intercept(at.transport, (call) => {
    calls.push(call.method);
    return meet(call);
  });
  const count = (method: string) => calls.filter((call) => call === method).length;
  const lock = createLock(transport, "default");
  const others = createLock(at.transport, "default");
  return { ...at, lock, others, count, runtime: createClient(Runtime, at.transport) };
}

const lost = (): never => {
  throw new ConnectError("the connection was lost", Code.Unavailable);
};

function reasonOf({ signal }: HeldLock): ConnectError {
  assert.ok(signal.reason instanceof ConnectError);
  return signal.reason;
}

test("a held lock is renewed before two thirds of its ttl have passed, for as long as it is held", async () => {
  await using at = await open();
  const held = await at.lock.acquire("r");
  const { fence } = held;
  const timers = vi.getTimerCount();
  for (let n = 1; n <= 10; n++) {
    await pass(20_000);
    assert.ok(at.count("LockKeepAlive") >= n);
    assert.ok(held.ttlRemainingMs > 9000);
    assert.equal(await at.others.tryAcquire("r"), undefined);
  }
  assert.equal(held.fence, fence);
  assert.equal(vi.getTimerCount(), timers);
  assert.equal(await held.release(), true);
  const renewals = at.count("LockKeepAlive");
  await pass(100_000);
  assert.equal(at.count("LockKeepAlive"), renewals);
});

for (const [ttlMs, marginMs] of [
  [30_000, 1000],
  [1000, 100],
] as const) {
  test(`the signal aborts ${marginMs} ms before a lease of ${ttlMs} ms ends if no renewal succeeds`, async () => {
    await using at = await open(({ method, send }) => (method === "LockKeepAlive" ? lost() : send()));
    const held = await at.lock.acquire("r", { ttlMs });
    await pass(ttlMs - marginMs - 1);
    assert.equal(held.signal.aborted, false);
    await pass(1);
    assert.equal(reasonOf(held).code, Code.Aborted);
    assert.match(reasonOf(held).message, /could not be renewed before its lease ended.*connection was lost/);
    assert.equal(reasonOf(held).cause, undefined);
    assert.equal(held.ttlRemainingMs, 0);
    assert.ok(at.count("LockKeepAlive") > 3);
    // The server has not granted the lock to another one before.
    assert.equal(await at.others.tryAcquire("r"), undefined);
    await pass(marginMs);
    assert.ok(await at.others.tryAcquire("r"));
    const renewals = at.count("LockKeepAlive");
    await pass(2 * ttlMs);
    assert.equal(at.count("LockKeepAlive"), renewals);
  });
}

test("the lease is counted from the time of the request, not of the answer", async () => {
  let renewals = 0;
  await using at = await open(async ({ method, send }) => {
    if (method === "LockKeepAlive" && ++renewals > 1) lost();
    const answer = await send();
    await sleep(5000);
    return answer;
  });
  const acquiring = at.lock.acquire("r");
  await pass(5000);
  const held = await acquiring;
  assert.equal(held.ttlRemainingMs, 24_000);
  await pass(10_000);
  assert.equal(renewals, 1);
  assert.equal(held.ttlRemainingMs, 24_000);
  await pass(24_000);
  assert.ok(held.signal.aborted);
});

test("a grant that arrives after its lease is not held, and released", async () => {
  await using at = await open(async ({ method, send }) => {
    const answer = await send();
    if (method === "TryLock") await sleep(1500);
    return answer;
  });
  const trying = at.lock.tryAcquire("r", { ttlMs: 1000 });
  await pass(1500);
  assert.equal(await trying, undefined);
  await pass(100_000);
  assert.equal(at.count("LockKeepAlive"), 0);
  assert.ok(at.count("Unlock") > 0);
});

test("a failed renewal is retried until it succeeds", async () => {
  let failures = 4;
  await using at = await open(({ method, send }) => {
    return method === "LockKeepAlive" && failures-- > 0 ? lost() : send();
  });
  const held = await at.lock.acquire("r");
  await pass(29_000);
  assert.equal(failures < 0, true);
  await pass(60_000);
  assert.equal(held.signal.aborted, false);
  assert.equal(await held.release(), true);
});

test("a renewal that hangs is canceled early enough for another", async () => {
  let hangs = 2;
  await using at = await open(async ({ method, timeoutMs, send }) => {
    if (method !== "LockKeepAlive" || hangs-- <= 0) return send();
    await sleep(timeoutMs ?? Number.POSITIVE_INFINITY);
    throw new ConnectError("the operation timed out", Code.DeadlineExceeded);
  });
  const held = await at.lock.acquire("r");
  await pass(60_000);
  assert.ok(hangs < 0);
  assert.equal(held.signal.aborted, false);
  await held.release();
});

test("the signal aborts as soon as the server reports that the lock is gone, or has another owner", async () => {
  await using at = await open();
  const gone = await at.lock.acquire("a");
  const taken = await at.lock.acquire("b");
  for (const { resource: resourceId, owner: lockOwner } of [gone, taken]) {
    await at.runtime.unlock({ storeName: "default", resourceId, lockOwner });
  }
  await using _other = await at.others.acquire("b");
  await pass(10_000);
  assert.match(reasonOf(gone).message, /the lock on "a" is gone/);
  assert.match(reasonOf(taken).message, /the lock on "b" belongs to another/);
  assert.equal(reasonOf(gone).code, Code.Aborted);
  assert.deepEqual(await Promise.all([gone.release(), taken.release()]), [false, false]);
});

test("withLock() fails with Code.Aborted if the lock was lost before its task ended", async () => {
  await using at = await open(({ method, send }) => (method === "LockKeepAlive" ? lost() : send()));
  let aborted = false;
  const working = at.lock.withLock("r", async ({ signal }) => {
    await sleep(60_000);
    aborted = signal.aborted;
    return "done, but not alone";
  });
  const failed = assert.rejects(working, { code: Code.Aborted });
  await pass(60_000);
  await failed;
  assert.equal(aborted, true);
});

test("renewals and releases carry the headers of the call", async () => {
  await using at = await openInProcess();
  const seen: string[] = [];
  const transport: Transport = {
    unary(method, signal, timeoutMs, header, message, values) {
      seen.push(`${method.name} ${new Headers(header).get("authorization")}`);
      return at.transport.unary(method, signal, timeoutMs, header, message, values);
    },
    stream: at.transport.stream,
  };
  const held = await createLock(transport, "default").acquire("r", { headers: { authorization: "mine" } });
  await pass(15_000);
  await held.release();
  assert.deepEqual(seen, ["TryLock mine", "LockKeepAlive mine", "Unlock mine"]);
});

test("a lock is released immediately if the answer with its grant was lost", async () => {
  await using at = await open(async ({ method, send }) => {
    const answer = await send();
    return method === "TryLock" ? lost() : answer;
  });
  await assert.rejects(at.lock.tryAcquire("r"), { code: Code.Unavailable });
  await pass(0);
  assert.ok(await at.others.tryAcquire("r"));
});

for (const [name, options, code] of [
  ["aborted", () => ({ signal: AbortSignal.abort() }), Code.Canceled],
  ["late", () => ({ timeoutMs: 100 }), Code.DeadlineExceeded],
] as const) {
  test(`a lock is released if its request was ${name}`, async () => {
    const enough = new AbortController();
    await using at = await open(async ({ method, send, signal, timeoutMs = 100 }) => {
      if (method !== "TryLock") return send();
      await send();
      await sleep(timeoutMs, signal);
      throw new ConnectError("the operation timed out", Code.DeadlineExceeded);
    });
    const call = name === "aborted" ? { signal: enough.signal } : options();
    const failed = assert.rejects(at.lock.tryAcquire("r", call), { code });
    await pass(50);
    assert.equal(await at.others.tryAcquire("r"), undefined);
    if (name === "aborted") enough.abort();
    await pass(50);
    await failed;
    await pass(0);
    assert.ok(await at.others.tryAcquire("r"));
  });
}

test("a lock is released if its request reaches the server after it was canceled", async () => {
  await using at = await open(async ({ method, send }) => {
    if (method !== "TryLock") return send();
    setTimeout(() => void send(), 300);
    return lost();
  });
  await assert.rejects(at.lock.tryAcquire("r"), { code: Code.Unavailable });
  await pass(400);
  assert.equal(await at.others.tryAcquire("r"), undefined);
  await pass(200);
  assert.ok(await at.others.tryAcquire("r"));
});

test("nothing is released after the server refused the request", async () => {
  await using at = await open();
  await assert.rejects(createLock(at.transport, "nope").tryAcquire("r"), { code: Code.InvalidArgument });
  await assert.rejects(at.lock.tryAcquire(""), RangeError);
  await pass(10_000);
  assert.equal(at.count("Unlock"), 0);
});

test("with unknown statuses a lock ends with its lease", async () => {
  const future = createRouterTransport((router) =>
    router.service(Runtime, {
      tryLock: () => ({ success: true }),
      lockKeepAlive: () => ({ status: 99 as never }),
      unlock: () => ({ status: 99 as never }),
    }),
  );
  const held = await createLock(future, "default").acquire("r");
  await pass(28_000);
  assert.equal(held.signal.aborted, false);
  await pass(1000);
  assert.match(reasonOf(held).message, /could not be renewed.*status 99/);
  assert.equal(await held.release(), false);
});

test("nothing runs after release(), even during a renewal", async () => {
  const slow = createRouterTransport((router) =>
    router.service(Runtime, {
      tryLock: () => ({ success: true }),
      lockKeepAlive: (_, { signal }) => sleep(1e9, signal).then(() => ({})),
      unlock: () => ({}),
    }),
  );
  const idle = await createLock(slow, "default").acquire("a");
  await idle.release();
  assert.equal(vi.getTimerCount(), 0);
  const renewing = await createLock(slow, "default").acquire("b");
  await pass(12_000);
  assert.ok(vi.getTimerCount() > 0);
  await renewing.release();
  await pass(0);
  assert.equal(vi.getTimerCount(), 0);
});

test("against the Go runtime, whose LockKeepAlive always fails, a lock is held for one lease", async () => {
  const go = createRouterTransport((router) =>
    router.service(Runtime, {
      tryLock: () => ({ success: true }),
      unlock: () => ({}),
      lockKeepAlive() {
        throw new ConnectError("grpc: error while marshaling: proto: Marshal called with nil", Code.Internal);
      },
    }),
  );
  const held = await createLock(go, "redis").acquire("r", { ttlMs: 60_000 });
  await pass(58_000);
  assert.equal(held.signal.aborted, false);
  await pass(1000);
  assert.match(reasonOf(held).message, /could not be renewed/);
  assert.equal(await held.release(), true);
});

test("a lock that is held for longer than fences are kept still has its fence, and its writes succeed", async () => {
  await using at = await open();
  const held = await at.lock.acquire("r", { ttlMs: 24 * 3_600_000 });
  const first = held.fence ?? 0n;
  const write = () => {
    const headers = { "fairlead-fence": `default/r=${held.fence}` };
    return at.runtime.saveState({ storeName: "default", states: [{ key: "k" }] }, { headers });
  };
  for (let day = 0; day < 30; day++) {
    await pass(24 * 3_600_000);
    await write();
  }
  assert.ok((held.fence ?? 0n) > first);
  await held.release();
});

test("time while the machine is suspended counts, and a wall clock that is set back has no effect", async () => {
  await using at = await open();
  const held = await at.lock.acquire("r");
  vi.setSystemTime(Date.now() - 3_600_000);
  assert.equal(held.ttlRemainingMs, 29_000);
  assert.equal(held.signal.aborted, false);
  const other = await at.lock.acquire("s");
  vi.setSystemTime(Date.now() + 29_500);
  assert.equal(other.ttlRemainingMs, 0);
  assert.equal(other.signal.aborted, true);
});
