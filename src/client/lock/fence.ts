import { checkedName, checkType } from "../../lib/checks.js";
import type { Fence } from "../lock.js";

/** The `fairlead-fence` request header for a write under `fence`. */
export function fenceHeader({ store, resource, fence }: Fence): string {
  const failure = "Cannot write under a fence";
  checkedName(`${failure}: its store`, store);
  checkedName(`${failure}: its resource`, resource);
  if (fence === undefined) {
    throw new TypeError(`Cannot write under the lock on "${resource}": its server gave it no fence`);
  }
  checkType(failure, "fence", "bigint", fence);
  return `${encodeURIComponent(store)}/${encodeURIComponent(resource)}=${fence}`;
}
