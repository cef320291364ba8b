/// <reference lib="esnext.disposable" preserve="true" />
import type { CallOptions, Transport } from "@connectrpc/connect";
import { checkedName } from "../lib/checks.js";
import { lazyMethods } from "./lazy.js";

/**
 * The options of the request for the lock. Its `headers` and `contextValues` are also sent with each renewal and with
 * the release. Its `signal` and `timeoutMs` have no effect after the lock is acquired.
 */
export interface TryAcquireOptions extends CallOptions {
  /**
   * How long the server keeps the lock after the last renewal, in milliseconds, rounded up to whole seconds. A held
   * lock is renewed until release(), so this does not limit the work under the lock. Default: 30 000.
   */
  ttlMs?: number;
}

/** As for tryAcquire(). `timeoutMs` is the deadline of all requests and of the waits between them. */
export interface AcquireOptions extends TryAcquireOptions {
  /** How long to wait while another holder has the lock, in milliseconds; 0: one attempt. Default: Infinity. */
  waitMs?: number;
}

/** Identifies one grant of a lock. State and map writes take it as a condition; a HeldLock is one. */
export interface Fence {
  /** The lock store. */
  readonly store: string;
  /** The locked resource. */
  readonly resource: string;
  /** The number of the grant; undefined if the server does not number its grants. */
  readonly fence: bigint | undefined;
}

/**
 * A held lock. It is renewed until release(), which keeps a Node process alive. It is a Fence: pass it as `fence` to
 * state and map writes, and the server refuses them once it has granted the lock again.
 */
export interface HeldLock extends Fence, AsyncDisposable {
  /** The random owner id of this acquisition. */
  readonly owner: string;
  /** A number that grows with every grant of the resource; undefined if the server does not number its grants. */
  readonly fence: bigint | undefined;
  /**
   * Aborts when the lock may no longer be held, with a ConnectError of `Code.Aborted` that has the reason: on
   * release(), when the server reports the loss, and if no renewal succeeded, before the lease ends (a tenth of
   * `ttlMs`, at most 1 second). Pass it to all calls under the lock. Its `aborted` reads the clock, so it is correct
   * immediately after a pause in which no timer could run: a blocked event loop, SIGSTOP, a suspended machine.
   */
  readonly signal: AbortSignal;
  /**
   * The time until `signal` aborts if no renewal succeeds, in milliseconds; 0 once the lock is not held. It is correct
   * at any time, also after a pause in which no timer could run.
   */
  readonly ttlRemainingMs: number;
  /**
   * Releases the lock; later calls return the result of the first. True if the lock was held until now; false if it had
   * already ended, or if a repeated request found it released. Rejects if the server cannot be reached: the lock then
   * ends with its lease, and release() can be called again. `Unlock`
   *
   * Leaving an `await using` scope also releases the lock. If that request fails, the lock ends with its lease.
   */
  release(options?: CallOptions): Promise<boolean>;
}

/**
 * Locks by name, with one holder at a time; they are not re-entrant. Some servers cannot renew (LockKeepAlive of the Go
 * runtime always fails): `signal` then aborts before the first lease ends, so `ttlMs` must be long enough for the work.
 */
export interface LockStore {
  /** Acquires the lock on `resource`; undefined if another holder has it. `TryLock` */
  tryAcquire(resource: string, options?: TryAcquireOptions): Promise<HeldLock | undefined>;
  /**
   * Acquires the lock on `resource` when it becomes free: polls with growing random delays. Fails with
   * `Code.DeadlineExceeded` after `waitMs`. After its first answer, the server may be unavailable for a while.
   * `TryLock`
   */
  acquire(resource: string, options?: AcquireOptions): Promise<HeldLock>;
  /**
   * Acquires the lock, runs `task` and releases the lock, also if `task` fails. Rejects with `Code.Aborted` if the lock
   * was lost before `task` ended: another holder may have run at the same time. `TryLock`
   */
  withLock<T>(
    resource: string,
    task: (held: HeldLock) => T | Promise<T>,
    options?: AcquireOptions,
  ): Promise<T>;
}

/**
 * The lock store that the server calls `name`. Makes no call by itself; the code for it is loaded by the first call.
 *
 * @example
 * ```ts
 * import { createLock } from "fairlead";
 * import { createNodeTransport } from "fairlead/node";
 *
 * const locks = createLock(createNodeTransport("http://localhost:34904"), "default");
 * const sum = await locks.withLock("order:1", async ({ signal }) => {
 *   return signal.aborted ? 0 : 42;
 * });
 * console.log(sum); // 42
 * ```
 */
export function createLock(transport: Transport, name: string): LockStore {
  checkedName("the lock store", name);
  return lazyMethods(({ lockStore }) => lockStore(transport, name), ["tryAcquire", "acquire", "withLock"]);
}
