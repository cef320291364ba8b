import type { ConnectError } from "@connectrpc/connect";
import { z } from "zod";
import { invalid, notConfigured } from "../errors.js";
import { COMPONENT_LABELS, type ComponentKind } from "../primitives.js";
import { componentTables } from "./component-settings.js";
import type { Config } from "./config.js";
import { explainIssue } from "./problems.js";

/** The present components of a server: ApplyConfiguration may change one at run time. */
export class Components {
  /** Maps, not objects: a client may send any name, "__proto__" too. */
  readonly #tables: ReadonlyMap<ComponentKind, Map<string, unknown>>;

  constructor(config: Config) {
    const kinds = Object.keys(COMPONENT_LABELS) as ComponentKind[];
    this.#tables = new Map(
      kinds.map((kind) => [kind, new Map<string, unknown>(Object.entries(config[kind]))]),
    );
  }

  /** The component `name`. Without one it fails with `invalid_argument`, and names those that there are. */
  get<K extends ComponentKind>(kind: K, name: string): Config[K][string] {
    const component = this.find(kind, name);
    if (component === undefined) throw notConfigured(COMPONENT_LABELS[kind], name, this.names(kind));
    return component;
  }

  /** The component `name`, or undefined. */
  find<K extends ComponentKind>(kind: K, name: string): Config[K][string] | undefined {
    return this.#tables.get(kind)?.get(name) as Config[K][string] | undefined;
  }

  /** The names of all components of this kind. */
  names(kind: ComponentKind): string[] {
    return [...(this.#tables.get(kind)?.keys() ?? [])];
  }

  /**
   * Replaces all settings of a component by `settings`. A number may be given as text, as metadata has only text. Fails
   * as get() does, or names the setting that is wrong.
   */
  replace(kind: ComponentKind, name: string, settings: Record<string, unknown>): void {
    this.#tables.get(kind)?.set(name, this.check(kind, name, settings));
  }

  /** The settings that replace() would set. Fails as it does. */
  check(kind: ComponentKind, name: string, settings: Record<string, unknown>): unknown {
    this.get(kind, name);
    const schema = componentTables[kind].unwrap().valueType;
    const asGiven = schema.safeParse(settings, { error: explainIssue });
    const result = asGiven.success
      ? asGiven
      : schema.safeParse(withNumbers(settings, asGiven.error.issues), { error: explainIssue });
    if (!result.success) throw refusal(kind, settings, result.error.issues);
    return result.data;
  }
}

/** `settings` with text converted to numbers, if `issues` tell that a number is needed. */
function withNumbers(
  settings: Record<string, unknown>,
  issues: readonly z.core.$ZodIssue[],
): Record<string, unknown> {
  const numbers = issues.flatMap((issue) => {
    const [name] = issue.path;
    const value = typeof name === "string" && Object.hasOwn(settings, name) ? settings[name] : undefined;
    const isNumber = typeof value === "string" && value.trim() !== "" && !Number.isNaN(Number(value));
    const isNeeded = issue.code === "invalid_type" && issue.expected === "number" && issue.path.length === 1;
    return isNeeded && isNumber ? [[name, Number(value)]] : [];
  });
  return { ...settings, ...Object.fromEntries(numbers) };
}

/** The error for `settings`, by the first issue that their schema has with them. */
function refusal(
  kind: ComponentKind,
  settings: Record<string, unknown>,
  [issue]: readonly z.core.$ZodIssue[],
): ConnectError {
  const unknownSetting = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const setting = unknownSetting ?? String(issue?.path[0] ?? "");
  const value = Object.hasOwn(settings, setting) ? settings[setting] : undefined;
  const field = `component_config.metadata[${JSON.stringify(setting)}]`;
  if (unknownSetting === undefined) return invalid(field, value, issue?.message ?? "is not valid");
  const known = settingsOf(kind, settings).join(", ") || "none";
  return invalid(field, value, `is no setting of this ${COMPONENT_LABELS[kind]}; its settings: ${known}`);
}

/** The names of the settings that a component of this kind, and of its type if there are several, can have. */
function settingsOf(kind: ComponentKind, { type }: Record<string, unknown>): string[] {
  const schema = componentTables[kind].unwrap().valueType;
  if (schema instanceof z.ZodObject) return Object.keys(schema.shape);
  const shapes = schema.options.map(({ shape }) => shape).filter((shape) => shape.type.value === type);
  return shapes.flatMap((shape) => Object.keys(shape));
}
