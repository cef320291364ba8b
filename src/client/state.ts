import type { CallOptions, ConnectError, Transport } from "@connectrpc/connect";
import { type Coding, codecOf } from "./codec.js";
import { lazyMethods } from "./lazy.js";
import type { Fence } from "./lock.js";
import { singleOperations } from "./state/single.js";

/** A stored value and its metadata. */
export type StateEntry<V> = {
  /** The key of the entry. */
  key: string;
  /** The stored value. If the codec cannot decode it, reading this throws `Code.DataLoss`: see unreadableFacts(). */
  value: V;
  /** Identifies this version of the entry, for `ifMatch`. Opaque; "" if the store has no etags. */
  etag: string;
  /** The remaining lifetime at the time of the read, in milliseconds; undefined: no expiry, or unknown. */
  ttlRemainingMs: number | undefined;
};

/** The entries that getMany() found, by key, and the keys that could not be read. */
export type StateEntries<V> = ReadonlyMap<string, StateEntry<V>> & {
  /** The errors of the keys that could not be read. */
  readonly errors: ReadonlyMap<string, ConnectError>;
};

/** How an entry is read. */
export interface ReadOptions extends CallOptions {
  /** "strong" reads the latest committed write, "eventual" may read an older one. Default: that of the store. */
  consistency?: "strong" | "eventual";
}

/** The conditions of a removal. */
export interface RemoveOptions extends CallOptions {
  /** Only if this is the etag of the current version, else it fails with `Code.Aborted`. */
  ifMatch?: string;
  /** Only if the lock has not been granted again since, else it fails with `Code.Aborted`. */
  fence?: Fence;
}

/** The conditions of a write, and the lifetime of the entry. */
export interface WriteOptions extends RemoveOptions {
  /**
   * Only if the key is absent, else it fails with `Code.Aborted`. Default: false. On other servers than Fairlead's,
   * set() and update() support it if the store compares etags as Redis does (probed once). Otherwise they fail with
   * `Code.Unimplemented`, as transaction() always does there.
   */
  ifAbsent?: boolean;
  /**
   * Lifetime in milliseconds from the write, rounded up to whole seconds; 0 removes the expiry. Default: a new entry
   * has no expiry, and an overwritten one keeps its own.
   */
  ttlMs?: number;
}

/** How an entry is updated. */
export interface UpdateOptions extends Pick<WriteOptions, "ttlMs" | "fence">, CallOptions {
  /** The number of attempts after which a conflict is thrown; Infinity: no limit. Default: 20. */
  maxAttempts?: number;
  /** Treats a value that the codec cannot decode as absent, and replaces it. Default: false, `Code.DataLoss`. */
  replaceUnreadable?: boolean;
}

/** The conditions of one write in a transaction, and the lifetime of the entry. */
export type TransactionWriteOptions = Pick<WriteOptions, "ifMatch" | "ifAbsent" | "ttlMs">;

/** Collects the writes of a transaction, which are applied in order. Throws TypeError after the end of `collect`. */
export interface StateTransaction<V> {
  /** Stores `value`. */
  set(key: string, value: V, options?: TransactionWriteOptions): void;
  /** Removes the entry. A missing entry is an error only with `ifMatch`. */
  delete(key: string, options?: Pick<RemoveOptions, "ifMatch">): void;
}

/** Keys and values in one state store. */
export interface StateStore<V> {
  /** The entry at `key`; undefined if there is none. `GetState` */
  get(key: string, options?: ReadOptions): Promise<StateEntry<V> | undefined>;
  /** The entries at `keys`, without the missing ones; keys that could not be read are in `errors`. `GetBulkState` */
  getMany(keys: readonly string[], options?: CallOptions): Promise<StateEntries<V>>;
  /** Stores `value` and returns its etag; undefined if the server does not send one. `SaveState` */
  set(key: string, value: V, options?: WriteOptions): Promise<string | undefined>;
  /** Removes the entry. A missing entry is an error only with `ifMatch`. `DeleteState` */
  delete(key: string, options?: RemoveOptions): Promise<void>;
  /**
   * Replaces the value with the result of `change`, which gets the current value, undefined if there is none. If it
   * returns undefined, the entry is removed. Returns the new value. `GetState`, `SaveState`, `DeleteState`
   *
   * Writes only over the version that `change` got. On a conflict, backs off and starts again, so `change` may run
   * several times.
   */
  update(
    key: string,
    change: (value: V | undefined) => V | undefined | Promise<V | undefined>,
    options?: UpdateOptions,
  ): Promise<V | undefined>;
  /**
   * Applies all writes that `collect` makes until it returns or its promise resolves, or none of them; none if it
   * throws. Returns their common etag; undefined if the server does not send one, or without writes.
   * `ExecuteStateTransaction`
   */
  transaction(
    collect: (tx: StateTransaction<V>) => void | Promise<void>,
    options?: Pick<RemoveOptions, "fence"> & CallOptions,
  ): Promise<string | undefined>;
}

/**
 * The state store that the server calls `name`. Makes no call by itself.
 *
 * @example
 * ```ts
 * import { createState } from "fairlead";
 * import { createNodeTransport } from "fairlead/node";
 *
 * const carts = createState<string[]>(createNodeTransport("http://localhost:34904"), "default");
 * await carts.set("cart:example", ["pear"], { ttlMs: 60_000 });
 * await carts.update("cart:example", (items = []) => [...items, "plum"]);
 * console.log((await carts.get("cart:example"))?.value.join()); // pear,plum
 * ```
 */
export function createState<V = unknown>(
  transport: Transport,
  name: string,
  coding: Coding<V> = {},
): StateStore<V> {
  const { requests, operations } = singleOperations(transport, name, codecOf(coding));
  return {
    ...operations,
    ...lazyMethods(
      ({ multipleOperations }) => multipleOperations(requests, operations),
      ["getMany", "update", "transaction"],
    ),
  };
}
