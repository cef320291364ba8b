import type { ServiceImpl } from "@connectrpc/connect";
import type { ComponentConfig, Lifecycle } from "../../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { withCallId } from "../calls/log.js";
import type { Components } from "../config/components.js";
import type { ServiceContext } from "../context.js";
import { invalid } from "../errors.js";
import { type ComponentKind, componentKindSpelled } from "../primitives.js";
import { ComponentChanges } from "./lifecycle/component-changes.js";

type Settings = Record<string, unknown>;

type Change = (metadata: Record<string, string>, name: string, components: Components) => Settings;

const asGiven: Change = (metadata) => metadata;

/**
 * Converts a change's metadata to the settings of a component, by kind; undefined: the kind cannot change at run time.
 * Every service reads its component's settings in each call, so the next call uses the change.
 */
const CHANGES: Readonly<Record<ComponentKind, Change | undefined>> = {
  // The Go runtime calls the greeting `hello`.
  hello: ({ hello, ...rest }) => (hello === undefined ? rest : { greeting: hello, ...rest }),
  pubsub: asGiven,
  sequencer: ({ biggerThan, ...rest }) => ({
    ...rest,
    ...(biggerThan && { biggerThan: parseJson(biggerThan) }),
  }),
  logs: asGiven,
  services: asGiven,
  bindings: bindingSettings,
  state: undefined,
  lock: undefined,
  files: undefined,
  maps: undefined,
  configuration: undefined,
  secrets: undefined,
  apps: undefined,
};

/** The kinds of component that can change at run time, as messages list them. */
const CHANGEABLE = Object.entries(CHANGES)
  .filter(([, change]) => change)
  .map(([kind]) => kind)
  .join(", ");

/** ApplyConfiguration. The other servers on the same engine apply a change a moment later. */
export function lifecycleService(context: ServiceContext): ServiceImpl<typeof Lifecycle> {
  const { components } = context;
  const changes = new ComponentChanges(context);
  return {
    async applyConfiguration({ componentConfig }, call) {
      const { kind: spelling, name, metadata } = componentConfig as ComponentConfig;
      const refuse = (why: string) => invalid("component_config.kind", spelling, why);
      const kind = componentKindSpelled(spelling);
      if (!kind)
        throw refuse(`is not a kind of component; those that can change at run time are ${CHANGEABLE}`);
      const change = CHANGES[kind];
      if (!change) throw refuse(`cannot change at run time; those that can are ${CHANGEABLE}`);
      await changes.apply(kind, name, change(metadata, name, components));
      withCallId(context, call).log.info(
        { kind, name, settings: Object.keys(metadata) },
        "component changed",
      );
      return {};
    },
  };
}

/** The settings of a binding, whose type cannot change: only its URL and its timeout can. */
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

/** Parses a setting that is a JSON object. Other text stays as it is, and is refused by the schema. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
