import type { Transport } from "@connectrpc/connect";
import { checkedName } from "../lib/checks.js";
import { lazyMethods } from "./lazy.js";
import type { LockStore } from "./lock/acquire.js";

export type { AcquireOptions, LockStore, TryAcquireOptions } from "./lock/acquire.js";
export type { HeldLock } from "./lock/held-lock.js";

/**
 * The lock store that the server calls `name`. Costs nothing: the first call goes to the server, and the code for it is
 * loaded then.
 */
export function createLock(transport: Transport, name: string): LockStore {
  checkedName("the lock store", name);
  return lazyMethods(({ lockStore }) => lockStore(transport, name), ["tryAcquire", "acquire", "withLock"]);
}
