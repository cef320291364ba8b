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
import type { HeldLock } from "../lock.js";
import { Lease } from "./lease.js";
import { stopwatch } from "./stopwatch.js";

/** The deadline of the release when the client closes, in milliseconds. */
const RELEASE_ON_CLOSE_MS = 2000;

/** The fields of an acquisition that all three RPCs have. */
type Claim = { storeName: string; resourceId: string; lockOwner: string };

/** A granted lock and its lease. */
export type Grant = { held: HeldLock; lease: Lease };

interface AcquisitionOptions {
  transport: Transport;
  client: Client<typeof Runtime>;
  claim: Claim;
  ttlSeconds: number;
  /** The options of the calls that renew and release the lock. */
  call: CallOptions;
}

/** One attempt to acquire a lock, to be created before TryLock is sent, since the lease may begin at that time. */
export class Acquisition {
  readonly #options: AcquisitionOptions;
  readonly #sinceRequestMs = stopwatch();
  #fence: bigint | undefined;

  constructor(options: AcquisitionOptions) {
    this.#options = options;
  }

  get claim(): Claim {
    return this.#options.claim;
  }

  /** Reads the number of the grant from the headers of an answer. */
  readonly readFence = (headers: Headers): void => {
    const fence = headers.get(FENCE_HEADER);
    if (fence) this.#fence = BigInt(fence);
  };

  /** Starts to renew the lock, which TryLock has granted. */
  hold(): Grant {
    const { transport, claim, ttlSeconds } = this.#options;
    const unregister = openFor(transport, () => held.release({ timeoutMs: RELEASE_ON_CLOSE_MS }));
    const letProcessEnd = keepProcessAlive();
    const lease = new Lease({
      subject: `the lock on "${claim.resourceId}"`,
      ttlMs: ttlSeconds * 1000,
      sinceRequestMs: this.#sinceRequestMs,
      renew: (call) => this.#renew(call),
    });
    onAbort(lease.signal, () => {
      letProcessEnd();
      unregister();
    });
    const held = this.#heldLock(lease);
    return { held, lease };
  }

  /** Sends Unlock and returns its status. */
  async unlock(options?: CallOptions): Promise<Unlock> {
    const { client, claim, call } = this.#options;
    return (await client.unlock(claim, { ...call, ...options })).status;
  }

  #heldLock(lease: Lease): HeldLock {
    const fence = () => this.#fence;
    let releasing: Promise<boolean> | undefined;
    const release = (options?: CallOptions) => {
      lease.end("was released");
      releasing ??= this.unlock(options).then(
        (status) => status === Unlock.SUCCESS,
        (error: unknown) => {
          releasing = undefined;
          throw error;
        },
      );
      return releasing;
    };
    return {
      store: this.claim.storeName,
      resource: this.claim.resourceId,
      owner: this.claim.lockOwner,
      signal: lease.signal,
      get fence() {
        return fence();
      },
      get ttlRemainingMs() {
        return lease.remainingMs;
      },
      release,
      // The work under the lock is done: a failed release must not make it fail.
      [asyncDispose]: () => release().then(noop, noop),
    };
  }

  /** Sends LockKeepAlive. Returns the reason if the lock is lost. */
  async #renew(options: { signal: AbortSignal; timeoutMs: number; isRetry: boolean }) {
    const { client, claim, ttlSeconds, call } = this.#options;
    const { isRetry, ...limits } = options;
    // The connection of the first attempt may be dead without an error.
    const contextValues = isRetry ? requireNewConnection(call.contextValues) : call.contextValues;
    const { status } = await client.lockKeepAlive(
      { ...claim, expire: ttlSeconds },
      { ...call, ...(contextValues && { contextValues }), onHeader: this.readFence, ...limits },
    );
    return lossReason(status);
  }
}

/** Why LockKeepAlive did not extend the lock; undefined if it did. Throws if the status is unknown: to be retried. */
function lossReason(status: KeepAlive): string | undefined {
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
