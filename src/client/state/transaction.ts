import { checkType } from "../../lib/checks.js";
import type { RemoveOptions, StateTransaction, TransactionWriteOptions } from "../state.js";

/** The writes of a transaction, as operations on the wire. */
interface CollectedWrites<O> {
  operations: O[];
  /** Whether a write requires that its key is absent. */
  ifAbsent: boolean;
  /** Whether the conditions let every write happen only once. */
  once: boolean;
}

/** Runs `collect` to its end and returns its writes. A write after that throws TypeError. */
export async function collectWrites<V, O>(
  failure: string,
  collect: (tx: StateTransaction<V>) => unknown,
  operation: {
    set: (key: string, value: V, options: TransactionWriteOptions) => O;
    remove: (key: string, options: Pick<RemoveOptions, "ifMatch">) => O;
  },
): Promise<CollectedWrites<O>> {
  checkType(failure, "collect", "function", collect);
  const writes: CollectedWrites<O> = { operations: [], ifAbsent: false, once: true };
  let hasEnded = false;
  const add = (operation: O, { ifMatch, ifAbsent = false }: TransactionWriteOptions) => {
    if (hasEnded) throw new TypeError(`${failure}: it is over, and takes no further writes`);
    writes.operations.push(operation);
    writes.ifAbsent ||= ifAbsent;
    writes.once &&= ifMatch !== undefined || ifAbsent;
  };
  try {
    await collect({
      set: (key, value, options = {}) => add(operation.set(key, value, options), options),
      delete: (key, options = {}) => add(operation.remove(key, options), options),
    });
  } finally {
    hasEnded = true;
  }
  return writes;
}
