import type { Transport } from "@connectrpc/connect";
import { checkedName, checkOptions } from "../lib/checks.js";
import { checkedCount } from "../lib/count-checks.js";
import { quote } from "../lib/quote.js";
import { type Coding, codecOf, encoded } from "./codec.js";
import { lazyMethods } from "./lazy.js";
import type { MapOptions, VersionedMap, VersionedMapCalls } from "./map/versioned-map.js";

export type {
  ComputeOptions,
  MapEntry,
  MapOptions,
  MapPutOptions,
  MapRemoveOptions,
  VersionedMap,
} from "./map/versioned-map.js";

/**
 * The map that its servers call `name`. Costs nothing: the first call goes to the server, and the code for it is loaded
 * then.
 */
export function createMap<V = unknown>(
  transport: Transport,
  name: string,
  options: MapOptions & Coding<V> = {},
): VersionedMap<V> {
  const what = `Cannot use map ${quote(name)}`;
  checkedName("the map", name);
  checkOptions(what, options, { namespace: "string", group: "string", groupNamespace: "string" });
  const { namespace, group, groupNamespace, partitions = 1 } = options;
  for (const text of [namespace, group, groupNamespace]) if (text) checkedName(what, text);
  checkedCount(what, "partitions", partitions, 2 ** 32 - 1);
  const codec = codecOf<V>(options);
  const { putEncoded, ...map } = lazyMethods<VersionedMapCalls<V>>(
    ({ versionedMap }) => versionedMap(transport, name, { ...options, codec, schema: undefined }),
    ["get", "putEncoded", "remove", "compute"],
  );
  return {
    ...map,
    // Encoded before the code is loaded: a change of the value after the call must not be part of it.
    put: async (key, value, options) =>
      putEncoded(key, encoded(`Cannot put ${quote(key)} in map ${quote(name)}`, codec, value), options),
  };
}
