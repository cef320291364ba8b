import type { CallOptions, Transport } from "@connectrpc/connect";
import { Lifecycle } from "../../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { checkedName, checkOptions, checkType } from "../../lib/checks.js";
import { generatedClient } from "../generated-client.js";

/** The kinds of component that a Fairlead server can change while it runs. */
export type ChangeableKind = "hello" | "pubsub" | "sequencer" | "logs" | "services" | "bindings";

/** Changes components while the server runs. */
export interface LifecycleControl {
  /**
   * Gives the component `name` new settings, by the names that they have in the configuration; one that is left out
   * gets its default. In effect for calls that begin after this one has ended. A component that is unknown or cannot
   * change, and a setting that is wrong, fail with `Code.InvalidArgument`. `ApplyConfiguration`
   */
  apply(
    kind: ChangeableKind | (string & {}),
    name: string,
    metadata: Record<string, string>,
    options?: CallOptions,
  ): Promise<void>;
}

/** What createLifecycle() gives, all of it. */
export function lifecycleControl(transport: Transport): LifecycleControl {
  const client = generatedClient(Lifecycle, transport);
  return {
    async apply(kind, name, metadata, call = {}) {
      const what = "Cannot change a component";
      checkedName(`${what}: the kind`, kind);
      checkedName(`${what}: the name`, name);
      checkType(what, "metadata", "texts", metadata);
      checkOptions(what, call);
      const componentConfig = { kind: WIRE_KINDS.get(kind) ?? kind, name, metadata: onWire(kind, metadata) };
      await client.applyConfiguration({ componentConfig }, call);
    },
  };
}

/** What the Go runtime calls our kinds: a Fairlead server knows them by these names too. */
const WIRE_KINDS = new Map([
  ["hello", "hellos"],
  ["configuration", "config_store"],
  ["services", "rpcs"],
  ["pubsub", "pub_subs"],
  ["files", "file"],
  ["secrets", "secret_store"],
]);

/** The Go runtime looks for the greeting under `hello`, and takes a change without it for none. */
function onWire(kind: string, metadata: Record<string, string>): Record<string, string> {
  const { greeting, ...rest } = metadata;
  return kind === "hello" && greeting !== undefined ? { hello: greeting, ...rest } : metadata;
}
