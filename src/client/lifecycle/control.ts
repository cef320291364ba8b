import type { Transport } from "@connectrpc/connect";
import { Lifecycle } from "../../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { checkedName, checkOptions, checkType } from "../../lib/checks.js";
import { generatedClient } from "../generated-client.js";
import type { LifecycleControl } from "../lifecycle.js";

/** The implementation of createLifecycle(). */
export function lifecycleControl(transport: Transport): LifecycleControl {
  const client = generatedClient(Lifecycle, transport);
  return {
    async apply(kind, name, metadata, call = {}) {
      const failure = "Cannot change a component";
      checkedName(`${failure}: the kind`, kind);
      checkedName(`${failure}: the name`, name);
      checkType(failure, "metadata", "texts", metadata);
      checkOptions(failure, call);
      const componentConfig = {
        kind: WIRE_KINDS.get(kind) ?? kind,
        name,
        metadata: metadataOnWire(kind, metadata),
      };
      await client.applyConfiguration({ componentConfig }, call);
    },
  };
}

/** The Go runtime's names of the kinds. A Fairlead server accepts them as well. */
const WIRE_KINDS = new Map([
  ["hello", "hellos"],
  ["configuration", "config_store"],
  ["services", "rpcs"],
  ["pubsub", "pub_subs"],
  ["files", "file"],
  ["secrets", "secret_store"],
]);

/** The Go runtime reads the greeting from `hello`, and ignores a change without it. */
function metadataOnWire(kind: string, metadata: Record<string, string>): Record<string, string> {
  const { greeting, ...rest } = metadata;
  return kind === "hello" && greeting !== undefined ? { hello: greeting, ...rest } : metadata;
}
