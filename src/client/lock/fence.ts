import { checkedName, checkType } from "../../lib/checks.js";

/** What a lock's holder writes under: the lock itself, as acquire() gave it, is one. */
export interface Fence {
  /** The lock store. */
  readonly store: string;
  /** What is locked. */
  readonly resource: string;
  /** The number of the grant; undefined where the server gives none. */
  readonly fence: bigint | undefined;
}

/** The `fairlead-fence` request header for a write under `fence`. */
export function fenceHeader({ store, resource, fence }: Fence): string {
  const what = "Cannot write under a fence";
  checkedName(`${what}: its store`, store);
  checkedName(`${what}: its resource`, resource);
  if (fence === undefined) {
    throw new TypeError(`Cannot write under the lock on "${resource}": its server gave it no fence`);
  }
  checkType(what, "fence", "bigint", fence);
  return `${encodeURIComponent(store)}/${encodeURIComponent(resource)}=${fence}`;
}
