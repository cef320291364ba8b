import type { ServiceImpl } from "@connectrpc/connect";
import type { ComponentConfig, Lifecycle } from "../../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { withCallId } from "../calls/log.js";
import type { Components } from "../config/components.js";
import type { ServiceContext } from "../context.js";
import { invalid } from "../errors.js";
import { type ComponentKind, componentKindSpelled } from "../primitives.js";

type Settings = Record<string, unknown>;

type Change = (metadata: Record<string, string>, name: string, components: Components) => Settings;

const asGiven: Change = (metadata) => metadata;

/**
 * How a change's metadata becomes the settings of a component of each kind; undefined: it is what it was at the start.
 * Every service looks its component up in each call, so the next one sees the change.
 */
const CHANGES: Readonly<Record<ComponentKind, Change | undefined>> = {
  // The Go runtime calls the greeting `hello`.
  hello: ({ hello, ...rest }) => (hello === undefined ? rest : { greeting: hello, ...rest }),
  pubsub: asGiven,
  sequencer: ({ biggerThan, ...rest }) => ({
    ...rest,
    ...(biggerThan && { biggerThan: parsed(biggerThan) }),
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

/** ApplyConfiguration. A change is checked and made in one step, so those of one component follow one another. */
export function lifecycleService(context: ServiceContext): ServiceImpl<typeof Lifecycle> {
  const { components } = context;
  return {
    applyConfiguration({ componentConfig }, call) {
      const { kind: spelling, name, metadata } = componentConfig as ComponentConfig;
      const refuse = (why: string) => invalid("component_config.kind", spelling, why);
      const kind = componentKindSpelled(spelling);
      if (!kind)
        throw refuse(`is not a kind of component; those that can change at run time are ${CHANGEABLE}`);
      const change = CHANGES[kind];
      if (!change) throw refuse(`cannot change at run time; those that can are ${CHANGEABLE}`);
      components.replace(kind, name, change(metadata, name, components));
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
