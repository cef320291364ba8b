import { checkType } from "../../lib/checks.js";

/** The conditions of a write in a transaction. */
interface Conditions {
  ifMatch?: string;
  ifAbsent?: boolean;
}

/** The writes of a transaction, as operations on the wire. */
export interface CollectedWrites<O> {
  operations: O[];
  /** Whether one of them must find its key absent. */
  ifAbsent: boolean;
  /** Whether conditions let all of them happen only once. */
  once: boolean;
}

/** Runs `collect`, and waits for it; a write that comes later throws TypeError, as it could not be part of it any more. */
export async function collectWrites<V, S extends Conditions, D extends Conditions, O>(
  what: string,
  collect: (tx: {
    set(key: string, value: V, options?: S): void;
    delete(key: string, options?: D): void;
  }) => unknown,
  { set, remove }: { set: (key: string, value: V, options: S) => O; remove: (key: string, options: D) => O },
): Promise<CollectedWrites<O>> {
  checkType(what, "collect", "function", collect);
  const writes: CollectedWrites<O> = { operations: [], ifAbsent: false, once: true };
  let isOver = false;
  const add = (operation: O, { ifMatch, ifAbsent = false }: Conditions) => {
    if (isOver) throw new TypeError(`${what}: it is over, and takes no further writes`);
    writes.operations.push(operation);
    writes.ifAbsent ||= ifAbsent;
    writes.once &&= ifMatch !== undefined || ifAbsent;
  };
  try {
    await collect({
      set: (key, value, options = {} as S) => add(set(key, value, options), options),
      delete: (key, options = {} as D) => add(remove(key, options), options),
    });
  } finally {
    isOver = true;
  }
  return writes;
}
