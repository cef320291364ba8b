import type { Transport } from "@connectrpc/connect";
import { checkedName } from "./internal/checks.js";
import { onDemand } from "./internal/later.js";
import type { LockStore } from "./internal/locking.js";

export type { Held } from "./internal/held.js";
export type { AcquireOptions, LockStore, TryAcquireOptions } from "./internal/locking.js";

/**
 * The lock store that the server calls `name`. Costs nothing: the first call goes to the server, and the code for it is
 * loaded then.
 */
export function createLock(transport: Transport, name: string): LockStore {
  checkedName("the lock store", name);
  return onDemand(({ locking }) => locking(transport, name), ["tryAcquire", "acquire", "withLock"]);
}
