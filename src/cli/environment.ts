import { didYouMean } from "../lib/did-you-mean.js";
import { quote } from "../lib/quote.js";
import {
  type CommandLine,
  type Option,
  parseCommandLine,
  UsageError,
  type Variables,
} from "./command-line.js";

/** The parsed arguments of a command whose options environment variables may set as well. */
export interface CommandSettings<O extends Readonly<Record<string, Option>>> {
  options: CommandLine<O>["options"];
  /** How the user spelled an option: `--port`, or FAIRLEAD_PORT if its value is from the environment. */
  nameOf(option: keyof O & string): string;
  /** Whether the arguments or the environment have the option, or it is only a default. */
  isGiven(option: keyof O & string): boolean;
}

/** The environment variable that sets an option: FAIRLEAD_TLS_KEY for `tls-key`. */
export const variableOf = (option: string): string => `FAIRLEAD_${option.toUpperCase().replaceAll("-", "_")}`;

/**
 * Parses the arguments of a command without positional arguments. For an option that they lack, the value of its
 * environment variable counts; an empty variable is not set. Of a group in `exclusive`, whose options exclude each
 * other, an option of the arguments replaces all of the environment. Fails with a UsageError that names the wrong option
 * or variable.
 *
 */
export function parseSettings<const O extends Readonly<Record<string, Option>>>(
  args: string[],
  options: O,
  env: Variables,
  exclusive: readonly (keyof O & string)[] = [],
): CommandSettings<O> {
  const parsed = parseCommandLine(args, options);
  const replaced = exclusive.some((name) => parsed.given.has(name)) ? exclusive : [];
  const names = Object.keys(options).filter((name) => !parsed.given.has(name) && !replaced.includes(name));
  const values = new Map<string, string | boolean>();
  for (const name of names) {
    const text = env[variableOf(name)] ?? "";
    if (text !== "")
      values.set(name, options[name]?.type === "boolean" ? booleanOf(name, text) : textOf(name, text));
  }
  return {
    options: { ...parsed.options, ...Object.fromEntries(values) },
    nameOf: (option) => (values.has(option) ? variableOf(option) : `--${option}`),
    isGiven: (option) => values.has(option) || parsed.given.has(option),
  };
}

function booleanOf(option: string, text: string): boolean {
  if (text === "true" || text === "1") return true;
  if (text === "false" || text === "0") return false;
  throw new UsageError(`${variableOf(option)} must be true or false, got ${quote(text)}`);
}

/** Kubernetes sets NAME_PORT for each Service of the namespace, so a Service named fairlead sets FAIRLEAD_PORT. */
const SERVICE_LINK = /^(tcp|udp|sctp):\/\/[^/]+:\d+$/;

function textOf(option: string, text: string): string {
  if (!SERVICE_LINK.test(text)) return text;
  throw new UsageError(
    `${variableOf(option)} is ${quote(text)}: Kubernetes sets it for a Service of that name. ` +
      "Set enableServiceLinks: false in the pod",
  );
}

/** A line for each variable in `env` that sets none of `options`, but is spelled almost like one that does. */
export function misspelledVariables(options: Readonly<Record<string, Option>>, env: Variables): string[] {
  const known = Object.keys(options).map(variableOf);
  return Object.keys(env).flatMap((name) => {
    if (!name.startsWith("FAIRLEAD_") || known.includes(name)) return [];
    const meant = closest(name, known);
    return meant === undefined
      ? []
      : [`the environment variable ${name} sets nothing: did you mean ${meant}?`];
  });
}

/** Compares without the common prefix, which would make unrelated names similar. */
function closest(name: string, known: readonly string[]): string | undefined {
  const suffix = (variable: string) => variable.slice("FAIRLEAD_".length);
  const meant = didYouMean(suffix(name), known.map(suffix));
  return meant && `FAIRLEAD_${meant}`;
}
