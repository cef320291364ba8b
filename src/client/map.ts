import type { CallOptions, Transport } from "@connectrpc/connect";
import { checkedName, checkOptions } from "../lib/checks.js";
import { checkedCount } from "../lib/count-checks.js";
import { quote } from "../lib/quote.js";
import { type Coding, codecOf, encoded } from "./codec.js";
import { lazyMethods } from "./lazy.js";
import type { Fence } from "./lock.js";
import type { EncodedMap } from "./map/versioned-map.js";

/** A value in a map, and the version of its entry. */
export type MapEntry<V> = {
  /** The key of the entry. */
  key: string;
  /** The stored value. If the codec cannot decode it, reading this throws `Code.DataLoss`: see unreadableFacts(). */
  value: V;
  /** Identifies this version of the entry, for `ifVersion`. Later changes in the same partition have higher ones. */
  version: bigint;
};

/** The address of a map, and its partitions. All clients of a map must use the same options. */
export interface MapOptions {
  /** The application that the map belongs to. Maps of the same name in two namespaces are different. Default: "". */
  namespace?: string;
  /** The partition group that stores the map. Default: "default". */
  group?: string;
  /** The deployment that the group belongs to. Default: "". */
  groupNamespace?: string;
  /**
   * The number of partitions; versions are counted in each of them. All clients of a map must use the same number,
   * because it decides in which partition a key is. Default: 1.
   */
  partitions?: number;
  /**
   * Returns a transport to the server at `url`, which is the primary of a partition. It is called once for each server,
   * and its transports are not closed by the map. Default: transports to a URL make another one with their own options;
   * without such a transport, calls of a server that is not the primary fail with `Code.Unavailable`.
   */
  primaries?: (url: string) => Transport;
}

/** The conditions of a removal. */
export interface MapRemoveOptions extends CallOptions {
  /** Only if this is the current version, as get() or put() returned it, else it fails with `Code.Aborted`. */
  ifVersion?: bigint;
  /** Only if the lock has not been granted again since, else it fails with `Code.Aborted`. */
  fence?: Fence;
}

/** The conditions of a write. */
export interface MapPutOptions extends MapRemoveOptions {
  /** Only if the key is absent, else it fails with `Code.Aborted`. Default: false. */
  ifAbsent?: boolean;
}

/** How an entry is computed. */
export interface ComputeOptions extends CallOptions {
  /** The number of attempts after which a conflict is thrown; Infinity: no limit. Default: 20. */
  maxAttempts?: number;
  /** Treats a value that the codec cannot decode as absent, and replaces it. Default: false, `Code.DataLoss`. */
  replaceUnreadable?: boolean;
  /** As for put(). */
  fence?: Fence;
}

/**
 * Keys and values in partitions, each with one primary server and its backups. Each write gives its entry a new
 * version. Versions grow within a partition and never go back, so a write over an older version can be refused.
 */
export interface VersionedMap<V> {
  /** The entry at `key`; undefined if there is none. `Get` */
  get(key: string, options?: CallOptions): Promise<MapEntry<V> | undefined>;
  /** Stores `value` and returns its version, when every in-sync backup has stored it too. `Put` */
  put(key: string, value: V, options?: MapPutOptions): Promise<bigint>;
  /** Removes the entry and returns it; undefined if there was none, which is an error with `ifVersion`. `Remove` */
  remove(key: string, options?: MapRemoveOptions): Promise<MapEntry<V> | undefined>;
  /**
   * Replaces the value with the result of `change`, which gets the current value, undefined if there is none. If it
   * returns undefined, the entry is removed. Returns the new entry; undefined if there is none. `Get`, `Put`, `Remove`
   *
   * Writes only over the version that `change` got. On a conflict, backs off and starts again, so `change` may run
   * several times. If the key is absent, the server must support `fairlead-if-absent`, else this fails with
   * `Code.Unimplemented`.
   */
  compute(
    key: string,
    change: (value: V | undefined) => V | undefined | Promise<V | undefined>,
    options?: ComputeOptions,
  ): Promise<MapEntry<V> | undefined>;
}

/**
 * The map that its servers call `name`. Makes no call by itself; the code for it is loaded by the first call.
 *
 * @example
 * ```ts
 * import { createMap } from "fairlead";
 * import { createNodeTransport } from "fairlead/node";
 *
 * const seats = createMap<string>(createNodeTransport("http://localhost:34904"), "example-seats");
 * const version = await seats.put("12A", "Ada");
 * await seats.put("12A", "Bob", { ifVersion: version });
 * console.log((await seats.remove("12A"))?.value); // Bob
 * ```
 */
export function createMap<V = unknown>(
  transport: Transport,
  name: string,
  options: MapOptions & Coding<V> = {},
  ...origin: [base?: Transport, wrap?: (other: Transport) => Transport]
): VersionedMap<V> {
  const failure = `Cannot use map ${quote(name)}`;
  checkedName("the map", name);
  checkOptions(failure, options, { namespace: "string", group: "string", groupNamespace: "string" });
  const { namespace, group, groupNamespace, partitions = 1 } = options;
  for (const text of [namespace, group, groupNamespace]) if (text) checkedName(failure, text);
  checkedCount(failure, "partitions", partitions, 2 ** 32 - 1);
  const codec = codecOf<V>(options);
  const { putEncoded, ...map } = lazyMethods<EncodedMap<V>>(
    ({ versionedMap }) => versionedMap(transport, name, options, codec, ...origin),
    ["get", "putEncoded", "remove", "compute"],
  );
  return {
    ...map,
    // Encoded before the code is loaded: the caller may change the value after the call.
    put: async (key, value, options) =>
      putEncoded(key, encoded(`Cannot put ${quote(key)} in map ${quote(name)}`, codec, value), options),
  };
}
