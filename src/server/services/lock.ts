import type { ServiceImpl } from "@connectrpc/connect";
import {
  LockKeepAliveResponse_Status as KeepAlive,
  type Runtime,
  UnlockResponse_Status as Unlock,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import { FENCE_HEADER } from "../../rpc/extension-headers.js";
import type { ServiceContext } from "../context.js";
import type { Engine, Write } from "../engine.js";
import { KeyQuota } from "./shared/key-quota.js";
import { keyOf, keyPrefix } from "./shared/keyspace.js";

type LockMethods = Pick<ServiceImpl<typeof Runtime>, "tryLock" | "unlock" | "lockKeepAlive">;

const DAY_MS = 24 * 3_600_000;

/** How long a fence is stored after its lease. A write with an older fence is refused. */
const FENCE_TTL_MS = 7 * DAY_MS;

/** The engine's keys of a resource. */
type LockKeys = { lock: string; fence: string };

/**
 * The lock RPCs. A held lock is an entry with the owner as its value, which expires with the lease. The resource's
 * fence is another entry, which is written by every grant and by nothing else. So its version is the number of the
 * latest grant, also after the lock has expired.
 */
export function lockService(context: ServiceContext): LockMethods {
  const { components, limits, closing } = context;
  const { keys } = context.engine;
  const why = "as many resources have a lock, or a fence that is still remembered";
  const limit = { name: "locks", most: limits.locks, why };
  const fences = new KeyQuota({ keys, prefix: keyPrefix("fence"), limit, closing });
  const keysOf = (store: string, resource: string): LockKeys => {
    components.get("lock", store);
    return { lock: keyOf("lock", store, resource), fence: keyOf("fence", store, resource) };
  };

  return {
    async tryLock({ storeName, resourceId, lockOwner, expire }, { responseHeader }) {
      const { lock, fence } = keysOf(storeName, resourceId);
      const leaseMs = expire * 1000;
      const writes: Write[] = [
        { type: "set", key: lock, value: utf8(lockOwner), ifVersion: 0n, ttlMs: leaseMs },
        newFence(fence, leaseMs),
      ];
      const commit = await fences.admit(fence, () => keys.commit(writes));
      if ("conflict" in commit) return { success: false };
      responseHeader.set(FENCE_HEADER, String(commit.version));
      return { success: true };
    },

    async unlock({ storeName, resourceId, lockOwner }) {
      const { lock } = keysOf(storeName, resourceId);
      let held = await keys.get(lock);
      for (;;) {
        if (!held) return { status: Unlock.LOCK_UNEXIST };
        if (fromUtf8(held.value) !== lockOwner) return { status: Unlock.LOCK_BELONG_TO_OTHERS };
        const commit = await keys.commit([{ type: "delete", key: lock, ifVersion: held.version }]);
        if (!("conflict" in commit)) return { status: Unlock.SUCCESS };
        // It was extended, released or granted in the meantime.
        held = commit.actual;
      }
    },

    async lockKeepAlive({ storeName, resourceId, lockOwner, expire }, { responseHeader }) {
      const lock = keysOf(storeName, resourceId);
      const { status, fence } = await keepAlive(context.engine, lock, lockOwner, expire * 1000);
      if (fence !== undefined) responseHeader.set(FENCE_HEADER, String(fence));
      return { status };
    },
  };
}

/** Extends the lease of a held lock. Returns the number of its grant if it did. */
async function keepAlive(
  { keys, clock }: Pick<Engine, "keys" | "clock">,
  { lock, fence }: LockKeys,
  lockOwner: string,
  leaseMs: number,
): Promise<{ status: KeepAlive; fence?: bigint }> {
  for (;;) {
    const [held, known] = await keys.getMany([lock, fence]);
    if (!held) return { status: KeepAlive.LOCK_UNEXIST };
    if (fromUtf8(held.value) !== lockOwner) return { status: KeepAlive.LOCK_BELONG_TO_OTHERS };
    const writes: Write[] = [
      { type: "set", key: lock, value: held.value, ifVersion: held.version, ttlMs: leaseMs },
    ];
    // A lock that is held for days would outlive its fence, and the writes of its holder would be refused. So it gets a
    // new fence in time.
    const outlivesLease =
      known && (known.expiresAtMs ?? Number.POSITIVE_INFINITY) > clock.now() + leaseMs + DAY_MS;
    if (!outlivesLease) writes.push({ ...newFence(fence, leaseMs), ifVersion: known?.version ?? 0n });
    const commit = await keys.commit(writes);
    if ("conflict" in commit) continue;
    return { status: KeepAlive.SUCCESS, fence: outlivesLease ? known.version : commit.version };
  }
}

const newFence = (key: string, leaseMs: number) =>
  ({ type: "set", key, value: new Uint8Array(), ttlMs: leaseMs + FENCE_TTL_MS }) satisfies Write;
