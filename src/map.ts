import type { Transport } from "@connectrpc/connect";
import type { Coding } from "./codec.js";
import { checkedName, checkOptions, shown } from "./internal/checks.js";
import { checkedCount } from "./internal/count-checks.js";
import { onDemand } from "./internal/later.js";
import type { MapOptions, VersionedMap } from "./internal/versioned-map.js";

export type {
  ComputeOptions,
  MapEntry,
  MapOptions,
  MapPutOptions,
  MapRemoveOptions,
  VersionedMap,
} from "./internal/versioned-map.js";

/**
 * The map that its servers call `name`. Costs nothing: the first call goes to the server, and the code for it is loaded
 * then.
 */
export function createMap<V = unknown>(
  transport: Transport,
  name: string,
  options: MapOptions & Coding<V> = {},
): VersionedMap<V> {
  const what = `Cannot use map ${shown(name)}`;
  checkedName("the map", name);
  checkOptions(what, options, { namespace: "string", group: "string", groupNamespace: "string" });
  const { namespace, group, groupNamespace, partitions = 1 } = options;
  for (const text of [namespace, group, groupNamespace]) if (text) checkedName(what, text);
  checkedCount(what, "partitions", partitions, 2 ** 32 - 1);
  return onDemand(
    ({ versionedMap }) => versionedMap(transport, name, options),
    ["get", "put", "remove", "compute"],
  );
}
