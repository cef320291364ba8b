/** The facts of a primitive for messages, access rules, the command line and the conformance suite. */
interface PrimitiveFacts {
  /** A summary of a few words, for the table that `fairlead serve` prints. */
  readonly summary: string;
  /** Whether the configuration names all its stores, or the first use of a name creates one. Undefined: it has none. */
  readonly stores?: "configured" | "created on first use";
  /** The part of the configuration that has its components, by name. */
  readonly configKey?: string;
  /** How a message calls one of its components. */
  readonly componentLabel?: string;
  /** Whether the engine keeps its data. */
  readonly isStored: boolean;
  /**
   * Other spellings that the command line, access rules and ApplyConfiguration accept: older ones, and what the Go
   * runtime calls its components.
   */
  readonly aliases: readonly string[];
}

/**
 * The primitives, by their properties of a client: `files` is `fl.files()`. Whatever else needs a list of them is
 * derived from this one.
 */
export const PRIMITIVES = {
  state: {
    summary: "keys and values with etags, bulk and transactions",
    stores: "configured",
    configKey: "state",
    componentLabel: "state store",
    isStored: true,
    aliases: [],
  },
  lock: {
    summary: "leases with fences",
    stores: "configured",
    configKey: "lock",
    componentLabel: "lock store",
    isStored: true,
    aliases: [],
  },
  sequencer: {
    summary: "unique, increasing ids",
    stores: "configured",
    configKey: "sequencer",
    componentLabel: "sequencer store",
    isStored: true,
    aliases: [],
  },
  pubsub: {
    summary: "topics, consumer groups, dead letters",
    stores: "configured",
    configKey: "pubsub",
    componentLabel: "pubsub",
    isStored: true,
    aliases: ["pub_subs"],
  },
  files: {
    summary: "streams of bytes by name",
    stores: "configured",
    configKey: "files",
    componentLabel: "file store",
    isStored: true,
    aliases: ["file", "oss"],
  },
  map: {
    summary: "versioned maps, compare and set",
    stores: "created on first use",
    configKey: "maps",
    componentLabel: "map group",
    isStored: true,
    aliases: [],
  },
  gossipMap: {
    summary: "replicas that work offline and converge",
    stores: "created on first use",
    isStored: true,
    aliases: ["gossip-map"],
  },
  log: {
    summary: "ordered records that are kept",
    stores: "created on first use",
    configKey: "logs",
    componentLabel: "log",
    isStored: true,
    aliases: [],
  },
  configuration: {
    summary: "settings that tell of their changes",
    stores: "configured",
    configKey: "configuration",
    componentLabel: "configuration store",
    isStored: true,
    aliases: ["config_store"],
  },
  secrets: {
    summary: "read only, never printed",
    stores: "configured",
    configKey: "secrets",
    componentLabel: "secret store",
    isStored: false,
    aliases: ["secret_store"],
  },
  bindings: {
    summary: "calls to systems outside",
    stores: "configured",
    configKey: "bindings",
    componentLabel: "binding",
    isStored: false,
    aliases: [],
  },
  service: {
    summary: "invocation of other apps",
    stores: "configured",
    configKey: "services",
    componentLabel: "service",
    isStored: false,
    aliases: ["invocation", "rpcs"],
  },
  hello: {
    summary: "is anyone there",
    stores: "configured",
    configKey: "hello",
    componentLabel: "hello",
    isStored: false,
    aliases: ["hellos"],
  },
  lifecycle: {
    summary: "components that change at run time",
    isStored: false,
    aliases: [],
  },
} as const satisfies Record<string, PrimitiveFacts>;

/** A primitive, by its property of a client. */
export type Primitive = keyof typeof PRIMITIVES;

/** Every primitive, in the order of the list. */
export const PRIMITIVE_NAMES = Object.keys(PRIMITIVES) as Primitive[];

type PrimitivesWith<Facts> = {
  [P in Primitive]: (typeof PRIMITIVES)[P] extends Facts ? P : never;
}[Primitive];

/** A primitive whose components the configuration has. */
type Configurable = PrimitivesWith<{ configKey: string }>;

/** A primitive whose data the engine keeps. */
export type StoredPrimitive = PrimitivesWith<{ isStored: true }>;

/** A primitive whose requests name a store that the configuration has to have and that keeps data. */
export type ConfiguredStore = PrimitivesWith<{ isStored: true; stores: "configured" }>;

/** A part of the configuration that is a table of components. */
export type ComponentKind = (typeof PRIMITIVES)[Configurable]["configKey"] | "apps";

/** The primitives whose requests name a configured store that keeps data. */
export const CONFIGURED_STORES = PRIMITIVE_NAMES.filter((name): name is ConfiguredStore => {
  const { isStored, stores }: PrimitiveFacts = PRIMITIVES[name];
  return isStored && stores === "configured";
});

const withComponents = PRIMITIVE_NAMES.filter(
  (name): name is Configurable => "configKey" in PRIMITIVES[name],
);

/** How messages call one component of each kind. Apps are not a primitive: pubsub and service call them. */
export const COMPONENT_LABELS = {
  ...Object.fromEntries(
    withComponents.map((name) => [PRIMITIVES[name].configKey, PRIMITIVES[name].componentLabel]),
  ),
  apps: "app",
} as Readonly<Record<ComponentKind, string>>;

const spellings = new Map<string, Primitive>(
  PRIMITIVE_NAMES.flatMap((name) => {
    const facts: PrimitiveFacts = PRIMITIVES[name];
    return [name, ...(facts.configKey ? [facts.configKey] : []), ...facts.aliases].map(
      (each) => [each, name] as const,
    );
  }),
);

/** The primitive that is spelled `text`: its name, its key in the configuration, or an alias. */
export const primitiveSpelled = (text: string): Primitive | undefined => spellings.get(text);

/** The kind of component that is spelled `text`; undefined if there is none. */
export function componentKindSpelled(text: string): ComponentKind | undefined {
  if (text === "apps") return text;
  const primitive = withComponents.find((name) => name === primitiveSpelled(text));
  return primitive && PRIMITIVES[primitive].configKey;
}

/** Whether `text` is a part of the configuration that is a table of components. */
export const isComponentKind = (text: string): text is ComponentKind => Object.hasOwn(COMPONENT_LABELS, text);

/** Whether the engine keeps the data of components of this kind. */
export const isStoredKind = (kind: ComponentKind): boolean =>
  withComponents.some((name) => PRIMITIVES[name].configKey === kind && PRIMITIVES[name].isStored);
