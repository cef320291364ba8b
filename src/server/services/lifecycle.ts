import type { ServiceImpl } from "@connectrpc/connect";
import type { ComponentConfig, Lifecycle } from "../../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { withCallId } from "../calls/log.js";
import type { Components, Kind } from "../config/components.js";
import type { ServiceContext } from "../context.js";
import { invalid } from "../errors.js";

type Settings = Record<string, unknown>;

/**
 * The kinds that can change at run time, and what their settings are in metadata. Every service looks its component
 * up in each call, so the next one sees the change.
 */
const CHANGES = new Map<
  Kind,
  (metadata: Record<string, string>, name: string, components: Components) => Settings
>([
  // The Go runtime calls the greeting `hello`.
  ["hello", ({ hello, ...rest }) => (hello === undefined ? rest : { greeting: hello, ...rest })],
  ["pubsub", (metadata) => metadata],
  [
    "sequencer",
    ({ biggerThan, ...rest }) => ({
      ...rest,
      ...(biggerThan && { biggerThan: parsed(biggerThan) }),
    }),
  ],
  ["logs", (metadata) => metadata],
  ["services", (metadata) => metadata],
  ["bindings", bindingSettings],
]);

/** The kinds by their own names and by those that the Go runtime gives them. */
const KINDS = new Map<string, Kind>([
  ["hello", "hello"],
  ["hellos", "hello"],
  ["state", "state"],
  ["lock", "lock"],
  ["sequencer", "sequencer"],
  ["pubsub", "pubsub"],
  ["pub_subs", "pubsub"],
  ["files", "files"],
  ["file", "files"],
  ["oss", "files"],
  ["configuration", "configuration"],
  ["config_store", "configuration"],
  ["secrets", "secrets"],
  ["secret_store", "secrets"],
  ["bindings", "bindings"],
  ["services", "services"],
  ["rpcs", "services"],
  ["apps", "apps"],
  ["logs", "logs"],
  ["maps", "maps"],
]);

/** The kind of component that a request calls `called`; undefined where there is none. */
export const kindCalled = (called: string): Kind | undefined => KINDS.get(called);

/** ApplyConfiguration. A change is checked and made in one step, so those of one component follow one another. */
export function lifecycleService(context: ServiceContext): ServiceImpl<typeof Lifecycle> {
  const { components } = context;
  return {
    applyConfiguration({ componentConfig }, call) {
      const { kind: called, name, metadata } = componentConfig as ComponentConfig;
      const those = [...CHANGES.keys()].join(", ");
      const refuse = (why: string) => invalid("component_config.kind", called, why);
      const kind = kindCalled(called);
      if (!kind) throw refuse(`is not a kind of component; those that can change at run time are ${those}`);
      const settings = CHANGES.get(kind);
      if (!settings) throw refuse(`cannot change at run time; those that can are ${those}`);
      components.replace(kind, name, settings(metadata, name, components));
      withCallId(context, call).log.info(
        { kind, name, settings: Object.keys(metadata) },
        "component changed",
      );
      return {};
    },
  };
}

/** A binding stays what it is: only where it leads to, and how long it may take, can change. */
function bindingSettings(metadata: Record<string, string>, name: string, components: Components): Settings {
  const { type } = components.get("bindings", name);
  if (metadata["type"] !== undefined && metadata["type"] !== type) {
    throw invalid(
      'component_config.metadata["type"]',
      metadata["type"],
      `must stay "${type}", or be left out`,
    );
  }
  return { ...metadata, type };
}

/** A setting that is an object, from its JSON; what is none stays a text, which its schema refuses. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
