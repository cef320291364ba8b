/// <reference lib="esnext.disposable" preserve="true" />

import { type CallOptions, type Client, Code, ConnectError, type Transport } from "@connectrpc/connect";
import {
  LockKeepAliveResponse_Status as KeepAlive,
  type Runtime,
  UnlockResponse_Status as Unlock,
} from "../../../gen/runtime/lock_pb.js";
import { asyncDispose } from "../../lib/dispose.js";
import { onAbort } from "../../lib/on-abort.js";
import { keepProcessAlive } from "../../lib/process-alive.js";
import { FENCE_HEADER } from "../../rpc/extension-headers.js";
import { requireNewConnection } from "../../rpc/new-connection.js";
import { openFor } from "../client-lifetime.js";
import type { Fence } from "./fence.js";
import { Lease } from "./lease.js";
import { stopwatch } from "./stopwatch.js";

/**
 * A lock that is held, and renewed until release(), which keeps a Node process alive. It counts as a fence: state and map writes take it as `fence` and
 * are refused once the lock has been granted anew.
 */
export interface HeldLock extends Fence, AsyncDisposable {
  /** The name under which this acquisition holds it: fresh and random. */
  readonly owner: string;
  /** A number that grows with every grant of the resource; undefined where the server gives none. */
  readonly fence: bigint | undefined;
  /**
   * Aborts when the lock is not surely held any more, with a ConnectError of `Code.Aborted` that says why: as soon as
   * the server says that it is gone, on release(), and where it could not be renewed, a tenth of the ttl (1 second at
   * most) before the lease ends. Pass it to all that is done under the lock. Its `aborted` looks at the clock, so it is
   * right at once after a pause in which no timer could run: a blocked event loop, SIGSTOP, a suspended machine.
   */
  readonly signal: AbortSignal;
  /**
   * How long `signal` will surely not abort, in milliseconds, unless the server loses the lock; 0 once it is not held
   * any more. Unlike `signal` it is right at every moment, also after a pause in which no timer could run.
   */
  readonly ttlRemainingMs: number;
  /**
   * Gives the lock up; a second time does what the first did: nothing more. True where the server had it as held until
   * now, false where it had ended before or a repeated request found it released. Rejects where the server cannot be
   * asked: then the lock ends with its lease, or release() can be called again. `Unlock`
   *
   * Leaving an `await using` scope releases too, and leaves the lock to its lease where that fails.
   */
  release(options?: CallOptions): Promise<boolean>;
}

/** How long the server may take to hear that a lock is released because its client closes, in milliseconds. */
const CLOSE_MS = 2000;

/** What an acquisition claims, in the words of all three RPCs. */
export type Claim = { storeName: string; resourceId: string; lockOwner: string };

export type Grant = { held: HeldLock; lease: Lease };

/**
 * From before TryLock is sent: `hear` is for the headers of its answer, `begin` for when it was a grant. `later` goes
 * along with the requests that renew and release.
 */
export function holdLock(
  transport: Transport,
  client: Client<typeof Runtime>,
  claim: Claim,
  expire: number,
  later: CallOptions,
) {
  const sinceAskedMs = stopwatch();
  let fence: bigint | undefined;
  const hear = (headers: Headers) => {
    const told = headers.get(FENCE_HEADER);
    if (told) fence = BigInt(told);
  };

  const begin = (): Grant => {
    const unregister = openFor(transport, () => release({ timeoutMs: CLOSE_MS }));
    const letProcessEnd = keepProcessAlive();
    const lease = new Lease({
      what: `the lock on "${claim.resourceId}"`,
      ttlMs: expire * 1000,
      sinceAskedMs,
      async renew({ isRetry, ...call }) {
        // What the first try went by may have died without a word.
        const contextValues = isRetry ? requireNewConnection(later.contextValues) : later.contextValues;
        const { status } = await client.lockKeepAlive(
          { ...claim, expire },
          { ...later, ...(contextValues && { contextValues }), onHeader: hear, ...call },
        );
        return lostBy(status);
      },
    });
    onAbort(lease.signal, () => {
      letProcessEnd();
      unregister();
    });
    let released: Promise<boolean> | undefined;
    const release = (options?: CallOptions) => {
      lease.end("was released");
      released ??= client.unlock(claim, { ...later, ...options }).then(
        ({ status }) => status === Unlock.SUCCESS,
        (error) => {
          released = undefined;
          throw error;
        },
      );
      return released;
    };
    const held: HeldLock = {
      store: claim.storeName,
      resource: claim.resourceId,
      owner: claim.lockOwner,
      signal: lease.signal,
      get fence() {
        return fence;
      },
      get ttlRemainingMs() {
        return lease.remainingMs;
      },
      release,
      // What was done is done: a server that cannot be told must not turn it into a failure.
      [asyncDispose]: () => release().then(noop, noop),
    };
    return { held, lease };
  };

  return { hear, begin };
}

/** What happened to a lock that LockKeepAlive did not extend. A number that nobody knows is worth another try. */
function lostBy(status: KeepAlive): string | undefined {
  switch (status) {
    case KeepAlive.SUCCESS:
      return undefined;
    case KeepAlive.LOCK_UNEXIST:
      return "is gone: it ended before it could be renewed, or was taken away";
    case KeepAlive.LOCK_BELONG_TO_OTHERS:
      return "belongs to another owner by now";
    default:
      throw new ConnectError(`LockKeepAlive answered with status ${status}`, Code.Internal);
  }
}

const noop = () => {};
