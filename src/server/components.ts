import { type Config, configSchema } from "./config.js";
import { invalid, notConfigured } from "./faults.js";

/** The parts of the configuration that are components: each is a table of names. */
export type Kind =
  | "state"
  | "lock"
  | "sequencer"
  | "pubsub"
  | "files"
  | "configuration"
  | "secrets"
  | "bindings"
  | "services"
  | "apps"
  | "hello"
  | "logs"
  | "maps";

/** How an error message calls one component of a kind. */
const CALLED: Record<Kind, string> = {
  state: "state store",
  lock: "lock store",
  sequencer: "sequencer store",
  pubsub: "pubsub",
  files: "file store",
  configuration: "configuration store",
  secrets: "secret store",
  bindings: "binding",
  services: "service",
  apps: "app",
  hello: "hello",
  logs: "log",
  maps: "map group",
};

/** The components that this server has, as they are now: ApplyConfiguration may change one at run time. */
export class Components {
  readonly #config: Config;

  constructor(config: Config) {
    this.#config = config;
  }

  /** The component `name`; fails with `invalid_argument`, naming those that there are. */
  get<K extends Kind>(kind: K, name: string): Config[K][string] {
    const component = this.find(kind, name);
    if (component === undefined) throw notConfigured(CALLED[kind], name, this.names(kind));
    return component;
  }

  /** The component `name`, or undefined. */
  find<K extends Kind>(kind: K, name: string): Config[K][string] | undefined {
    const table: Record<string, unknown> = this.#config[kind];
    return (Object.hasOwn(table, name) ? table[name] : undefined) as Config[K][string] | undefined;
  }

  names(kind: Kind): string[] {
    return Object.keys(this.#config[kind]);
  }

  /** Puts `settings`, whole, in the place of the component's present ones. Fails as get(), or naming the setting. */
  replace(kind: Kind, name: string, settings: Record<string, unknown>): void {
    this.get(kind, name);
    const shape = configSchema.shape[kind];
    const result = shape.safeParse({ [name]: settings });
    if (!result.success) {
      const [issue] = result.error.issues;
      const field = issue?.path.slice(1).join(".") ?? "";
      throw invalid(
        `component_config.metadata["${field}"]`,
        settings[field],
        issue?.message ?? "is not valid",
      );
    }
    Object.assign(this.#config[kind], result.data);
  }
}
