import { type CallOptions, type Client, Code, ConnectError, type Transport } from "@connectrpc/connect";
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
import { type Claim, type Grant, type HeldLock, holdLock } from "./held-lock.js";

/**
 * The options of the request for the lock. Its headers and context values go along with everything that is sent for
 * the lock later; its `signal` and `timeoutMs` have no say once the lock is there.
 */
export interface TryAcquireOptions extends CallOptions {
  /**
   * How long the lock outlives a holder that stops renewing it, in milliseconds, rounded up to whole seconds. It is
   * renewed as long as it is held, so this is not how long the work may take. Default: 30 000.
   */
  ttlMs?: number;
}

/** `timeoutMs` bounds the requests as well as the wait between them: all of it is done by then, or fails. */
export interface AcquireOptions extends TryAcquireOptions {
  /** How long to go on asking for what another holds, in milliseconds; 0 asks once. Default: Infinity. */
  waitMs?: number;
}

/**
 * Locks by name, one holder at a time, not re-entrant. A server without LockKeepAlive (the Go runtime's always fails)
 * cannot renew: `signal` aborts before the first lease ends, so `ttlMs` must be long enough for the work.
 */
export interface LockStore {
  /** Takes the lock on `resource`, or answers at once with undefined where another holds it. `TryLock` */
  tryAcquire(resource: string, options?: TryAcquireOptions): Promise<HeldLock | undefined>;
  /**
   * Takes the lock on `resource` as soon as it is free, asking again after growing random waits. Fails with
   * `Code.DeadlineExceeded` after `waitMs`. A server that has answered once may be away for a while meanwhile.
   */
  acquire(resource: string, options?: AcquireOptions): Promise<HeldLock>;
  /**
   * Runs `task` under the lock and releases it, whatever comes of it. Fails with `Code.Aborted` where the lock was
   * lost before `task` had ended, since then it was not alone.
   */
  withLock<T>(
    resource: string,
    task: (held: HeldLock) => T | Promise<T>,
    options?: AcquireOptions,
  ): Promise<T>;
}

/** What createLock() gives, all of it. */
export function lockStore(transport: Transport, name: string): LockStore {
  const client = generatedClient(Runtime, transport);

  const begin = (resource: string, options: AcquireOptions): string => {
    const what = `Cannot lock ${quote(resource)}`;
    checkedName(`${what}: the resource`, resource);
    checkOptions(what, options, { ttlMs: "number", waitMs: "number" });
    return what;
  };

  const attempt = async (
    resource: string,
    { ttlMs = 30_000, ...call }: TryAcquireOptions,
  ): Promise<Grant | undefined> => {
    const expire = wholeSeconds(ttlMs, `Cannot lock "${resource}"`, { least: 1 });
    if (call.signal?.aborted) throw canceled(call.signal);
    const claim: Claim = { storeName: name, resourceId: resource, lockOwner: randomId() };
    const later: CallOptions = { headers: call.headers, contextValues: call.contextValues };
    const hold = holdLock(transport, client, claim, expire, later);
    try {
      const { success } = await client.tryLock({ ...claim, expire }, withOnHeader(call, hold.hear));
      if (!success) return undefined;
    } catch (error) {
      if (mayHaveHappened(error)) void giveBack(client, claim, later);
      throw error;
    }
    const grant = hold.begin();
    if (!grant.lease.signal.aborted) return grant;
    // The answer took longer than the lease: as good as none.
    void giveBack(client, claim, later);
    return undefined;
  };

  const wait = async (resource: string, given: AcquireOptions): Promise<Grant> => {
    const what = begin(resource, given);
    const { waitMs = Number.POSITIVE_INFINITY, ...options } = given;
    checkedMs(what, "waitMs", waitMs, { endless: true });
    const { timeoutMs = 0, signal } = options;
    const patienceMs = timeoutMs > 0 ? Math.min(waitMs, timeoutMs) : waitMs;
    const endsAtMs = performance.now() + patienceMs;
    const left = deadline(options, what);
    let answered = false;
    for (let tries = 1; ; tries++) {
      try {
        const grant = await attempt(resource, left());
        if (grant) return grant;
        answered = true;
      } catch (error) {
        if (!answered || !hasCode(error, Code.Unavailable)) throw error;
      }
      const leftMs = endsAtMs - performance.now();
      if (leftMs <= 0) {
        throw new ConnectError(`${what}: not granted in ${patienceMs} ms`, Code.DeadlineExceeded);
      }
      await sleep(Math.min(jitteredMs(POLL, tries), leftMs), signal);
    }
  };

  return {
    async tryAcquire(resource, options = {}) {
      begin(resource, options);
      return (await attempt(resource, options))?.held;
    },
    acquire: async (resource, options = {}) => (await wait(resource, options)).held,
    async withLock(resource, task, options = {}) {
      checkType(begin(resource, options), "task", "function", task);
      const { held, lease } = await wait(resource, options);
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

const POLL = { minMs: 50, maxMs: 2000 };

/** Unlocks what a request without an answer may have been granted; again, for the request may still be on its way. */
async function giveBack(client: Client<typeof Runtime>, claim: Claim, later: CallOptions): Promise<void> {
  for (const waitMs of [0, 500, 2000]) {
    if (waitMs > 0) await new Promise<void>((resolve) => void runAfter(waitMs, resolve));
    const answer = await client.unlock(claim, { ...later, timeoutMs: 5000 }).catch(() => undefined);
    if (answer?.status === Unlock.SUCCESS || answer?.status === Unlock.LOCK_BELONG_TO_OTHERS) return;
  }
}

/** What a server says before it has done anything; every other failure may have come after the grant. */
const REFUSALS = new Set([
  Code.InvalidArgument,
  Code.NotFound,
  Code.PermissionDenied,
  Code.Unauthenticated,
  Code.ResourceExhausted,
  Code.FailedPrecondition,
  Code.Unimplemented,
]);

const mayHaveHappened = (error: unknown): boolean =>
  !(error instanceof ConnectError) || !REFUSALS.has(error.code);
