import { type Client, Code, ConnectError, type Transport } from "@connectrpc/connect";
import { Runtime, UnlockResponse_Status as Unlock } from "../../../gen/runtime/lock_pb.js";
import { jitteredMs } from "../../lib/backoff.js";
import { checkedName, checkOptions, checkType } from "../../lib/checks.js";
import { checkedMs } from "../../lib/count-checks.js";
import { asyncDispose } from "../../lib/dispose.js";
import { quote } from "../../lib/quote.js";
import { randomId } from "../../lib/random-id.js";
import { runAfter } from "../../lib/timer.js";
import { withOnHeader } from "../../rpc/call-headers.js";
import { canceled } from "../../rpc/canceled.js";
import { deadline } from "../../rpc/deadline.js";
import { sleep } from "../../rpc/sleep.js";
import { wholeSeconds } from "../../rpc/ttl.js";
import { hasCode } from "../errors/facts.js";
import { generatedClient } from "../generated-client.js";
import type { AcquireOptions, LockStore, TryAcquireOptions } from "../lock.js";
import { Acquisition, type Grant } from "./held-lock.js";

/** The lock store behind createLock(). */
export function lockStore(transport: Transport, name: string): LockStore {
  const store: Store = { transport, client: generatedClient(Runtime, transport), name };
  return {
    async tryAcquire(resource, options = {}) {
      checkCall(resource, options);
      return (await tryOnce(store, resource, options))?.held;
    },
    acquire: async (resource, options = {}) => (await waitForGrant(store, resource, options)).held,
    async withLock(resource, task, options = {}) {
      checkType(checkCall(resource, options), "task", "function", task);
      const { held, lease } = await waitForGrant(store, resource, options);
      try {
        const result = await task(held);
        if (lease.loss) throw lease.loss;
        return result;
      } finally {
        await held[asyncDispose]();
      }
    },
  };
}

interface Store {
  readonly transport: Transport;
  readonly client: Client<typeof Runtime>;
  readonly name: string;
}

/** Checks the arguments of a call, and returns the beginning of its error messages. */
function checkCall(resource: string, options: AcquireOptions): string {
  const failure = `Cannot lock ${quote(resource)}`;
  checkedName(`${failure}: the resource`, resource);
  checkOptions(failure, options, { ttlMs: "number", waitMs: "number" });
  return failure;
}

/** Sends TryLock once; undefined if another holder has the lock. */
async function tryOnce(
  { transport, client, name }: Store,
  resource: string,
  { ttlMs = 30_000, ...call }: TryAcquireOptions,
): Promise<Grant | undefined> {
  const ttlSeconds = wholeSeconds(ttlMs, `Cannot lock "${resource}"`, { least: 1 });
  if (call.signal?.aborted) throw canceled(call.signal);
  const acquisition = new Acquisition({
    transport,
    client,
    claim: { storeName: name, resourceId: resource, lockOwner: randomId() },
    ttlSeconds,
    // The signal and the deadline of TryLock do not apply to later calls.
    call: { headers: call.headers, contextValues: call.contextValues },
  });
  try {
    const request = { ...acquisition.claim, expire: ttlSeconds };
    const { success } = await client.tryLock(request, withOnHeader(call, acquisition.readFence));
    if (!success) return undefined;
  } catch (error) {
    if (mayBeGranted(error)) void undoGrant(acquisition);
    throw error;
  }
  const grant = acquisition.hold();
  if (!grant.lease.signal.aborted) return grant;
  // The answer took longer than the lease.
  void undoGrant(acquisition);
  return undefined;
}

const POLL = { minMs: 50, maxMs: 2000 };

/** Sends TryLock until the lock is granted, at most for `waitMs`. */
async function waitForGrant(store: Store, resource: string, options: AcquireOptions): Promise<Grant> {
  const failure = checkCall(resource, options);
  const { waitMs = Number.POSITIVE_INFINITY, ...call } = options;
  checkedMs(failure, "waitMs", waitMs, { endless: true });
  const { timeoutMs = 0, signal } = call;
  const limitMs = timeoutMs > 0 ? Math.min(waitMs, timeoutMs) : waitMs;
  const endsAtMs = performance.now() + limitMs;
  const remainingCall = deadline(call, failure);
  let hasAnswered = false;
  for (let attempt = 1; ; attempt++) {
    try {
      const grant = await tryOnce(store, resource, remainingCall());
      if (grant) return grant;
      hasAnswered = true;
    } catch (error) {
      if (!hasAnswered || !hasCode(error, Code.Unavailable)) throw error;
    }
    const remainingMs = endsAtMs - performance.now();
    if (remainingMs <= 0) {
      throw new ConnectError(`${failure}: not granted in ${limitMs} ms`, Code.DeadlineExceeded);
    }
    await sleep(Math.min(jitteredMs(POLL, attempt), remainingMs), signal);
  }
}

/**
 * Releases a lock that TryLock may have acquired although it failed. Repeats the request, because TryLock may reach the
 * server after it.
 */
async function undoGrant(acquisition: Acquisition): Promise<void> {
  for (const waitMs of [0, 500, 2000]) {
    if (waitMs > 0) await new Promise<void>((resolve) => void runAfter(waitMs, resolve));
    const status = await acquisition.unlock({ timeoutMs: 5000 }).catch(() => undefined);
    if (status === Unlock.SUCCESS || status === Unlock.LOCK_BELONG_TO_OTHERS) return;
  }
}

/** The codes of a server that has refused the request. After any other failure the lock may be granted. */
const REFUSALS = new Set([
  Code.InvalidArgument,
  Code.NotFound,
  Code.PermissionDenied,
  Code.Unauthenticated,
  Code.ResourceExhausted,
  Code.FailedPrecondition,
  Code.Unimplemented,
]);

const mayBeGranted = (error: unknown): boolean =>
  !(error instanceof ConnectError) || !REFUSALS.has(error.code);
