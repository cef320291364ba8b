import type { ServiceImpl } from "@connectrpc/connect";
import {
  LockKeepAliveResponse_Status as KeepAlive,
  type Runtime,
  UnlockResponse_Status as Unlock,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import { FENCE_HEADER } from "../../rpc/extension-headers.js";
import type { ServiceContext } from "../context.js";
import type { Write } from "../engine.js";
import { Population } from "./shared/key-quota.js";
import { keyOf, under } from "./shared/keyspace.js";

type LockMethods = Pick<ServiceImpl<typeof Runtime>, "tryLock" | "unlock" | "lockKeepAlive">;

const DAY_MS = 24 * 3_600_000;

/** How long a fence is remembered after its lease: a write that comes later than that is refused. */
const FENCE_KEPT_MS = 7 * DAY_MS;

/**
 * The lock RPCs. A held lock is an entry with the owner as its value that expires with the lease. Beside it lies the
 * resource's fence: an entry that each grant writes anew and nothing else, so that its version is the number of the
 * latest grant, also when the lock itself is long gone.
 */
export function lockService(context: ServiceContext): LockMethods {
  const { components, limits, closing } = context;
  const { keys, clock } = context.engine;
  const what = "as many resources have a lock, or a fence that is still remembered";
  const limit = { name: "locks", most: limits.locks, what };
  const fences = new Population({ keys, prefix: under("fence"), limit, closing });
  const keysOf = (store: string, resource: string) => {
    components.get("lock", store);
    return { lock: keyOf("lock", store, resource), fence: keyOf("fence", store, resource) };
  };

  return {
    async tryLock({ storeName, resourceId, lockOwner, expire }, { responseHeader }) {
      const { lock, fence } = keysOf(storeName, resourceId);
      const leaseMs = expire * 1000;
      const writes: Write[] = [
        { type: "set", key: lock, value: utf8(lockOwner), ifVersion: 0n, ttlMs: leaseMs },
        freshFence(fence, leaseMs),
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
        // It was extended, freed or granted meanwhile.
        held = commit.actual;
      }
    },

    async lockKeepAlive({ storeName, resourceId, lockOwner, expire }, { responseHeader }) {
      const { lock, fence } = keysOf(storeName, resourceId);
      const leaseMs = expire * 1000;
      for (;;) {
        const [held, known] = await keys.getMany([lock, fence]);
        if (!held) return { status: KeepAlive.LOCK_UNEXIST };
        if (fromUtf8(held.value) !== lockOwner) return { status: KeepAlive.LOCK_BELONG_TO_OTHERS };
        const writes: Write[] = [
          { type: "set", key: lock, value: held.value, ifVersion: held.version, ttlMs: leaseMs },
        ];
        // A lock that is held for days would outlive its fence, and its holder's writes would be refused: it gets a
        // new one in time.
        const lasts =
          known && (known.expiresAtMs ?? Number.POSITIVE_INFINITY) > clock.now() + leaseMs + DAY_MS;
        if (!lasts) writes.push({ ...freshFence(fence, leaseMs), ifVersion: known?.version ?? 0n });
        const commit = await keys.commit(writes);
        if ("conflict" in commit) continue;
        responseHeader.set(FENCE_HEADER, String(lasts ? known.version : commit.version));
        return { status: KeepAlive.SUCCESS };
      }
    },
  };
}

const freshFence = (key: string, leaseMs: number) =>
  ({ type: "set", key, value: new Uint8Array(), ttlMs: leaseMs + FENCE_KEPT_MS }) satisfies Write;
