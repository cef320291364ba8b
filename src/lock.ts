import type { Transport } from "@connectrpc/connect";
import { loaded } from "./internal/later.js";
import type { LockStore } from "./internal/locking.js";

export type { Held } from "./internal/held.js";
export type { AcquireOptions, LockStore, TryAcquireOptions } from "./internal/locking.js";

/**
 * The lock store that the server calls `name`. Costs nothing: the first call goes to the server, and the code for it is
 * loaded then.
 */
export function createLock(transport: Transport, name: string): LockStore {
  let store: LockStore | undefined;
  const ready = async () => (store ??= (await loaded(import("./on-demand.js"))).locking(transport, name));
  return {
    tryAcquire: async (resource, options) => (await ready()).tryAcquire(resource, options),
    acquire: async (resource, options) => (await ready()).acquire(resource, options),
    withLock: async (resource, task, options) => (await ready()).withLock(resource, task, options),
  };
}
