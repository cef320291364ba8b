import type { ConnectError } from "@connectrpc/connect";
import { quote } from "../../../lib/quote.js";
import { FENCE_HEADER } from "../../../rpc/extension-headers.js";
import { fencesIn } from "../../calls/request-names.js";
import type { Components } from "../../config/components.js";
import type { Entry, Write } from "../../engine.js";
import { conflict } from "../../errors.js";
import { keyOf } from "./keyspace.js";

/**
 * The checks of a write's `fairlead-fence` header, which belong into the write's commit. The number of a grant is the
 * version of the resource's fence entry, which outlives the lock. So an equal version means that there was no later
 * grant.
 */
export function fenceChecks(header: Headers, components: Components): Write[] {
  return fencesIn(header).map(({ store, resource, number }) => {
    components.get("lock", store);
    return { type: "check", key: keyOf("fence", store, resource), ifVersion: number };
  });
}

/** The error of a write whose fence check failed. */
export function fenceConflict({ key, ifVersion }: Write, actual: Entry | undefined): ConnectError {
  const resource = key.slice(key.indexOf("\0", "fence\0".length) + 1);
  const now = actual ? `was granted again since, as ${actual.version}` : "is not known any more";
  return conflict(`${FENCE_HEADER} ${ifVersion}: the lock on ${quote(resource)} ${now}`, {
    key: resource,
    fence: String(actual?.version ?? 0n),
  });
}
