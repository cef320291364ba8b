import { parseArgs } from "node:util";
import { didYouMean } from "../lib/did-you-mean.js";
import { quote } from "../lib/quote.js";

/** An error of usage: unknown options, wrong values, or names of things that do not exist. Exit status 2. */
export class UsageError extends Error {}

/** Environment variables by name. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** An option of a command. */
export interface Option {
  type: "string" | "boolean";
  default?: string | boolean;
  /** Whether it may be given more than once. Default: false. */
  multiple?: boolean;
}

type Value<O extends Option> = O["type"] extends "boolean"
  ? boolean
  : O extends { multiple: true }
    ? string[] | undefined
    : O extends { default: string }
      ? string
      : string | undefined;

/** The parsed arguments of a command. */
export interface CommandLine<O extends Readonly<Record<string, Option>>> {
  options: { [K in keyof O]: Value<O[K]> };
  /** The positional arguments, in order. */
  positionals: string[];
  /** The options that the arguments have. */
  given: ReadonlySet<string>;
}

/**
 * Parses the arguments after a command's name. `maxPositionals`: how many positional arguments the command takes. Fails
 * with a UsageError that names the wrong option, and suggests the option that was probably meant.
 *
 */
export function parseCommandLine<const O extends Readonly<Record<string, Option>>>(
  args: string[],
  options: O,
  maxPositionals = 0,
): CommandLine<O> {
  const { values, positionals, tokens } = parseArgs({
    args,
    options: options as Readonly<Record<string, { type: "string" | "boolean"; multiple?: boolean }>>,
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const seen = new Set<string>();
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    const { name, rawName, value, inlineValue } = token;
    const option = Object.hasOwn(options, name) ? options[name] : undefined;
    if (!option || !rawName.startsWith("--")) throw unknownName("option", rawName, optionNames(options));
    if (option.type === "boolean" && value !== undefined) {
      throw new UsageError(`${rawName} takes no value, got ${quote(value)}`);
    }
    if (option.type === "string" && (value === undefined || (!inlineValue && /^--?[a-z]/i.test(value)))) {
      throw new UsageError(`${rawName} needs a value`);
    }
    if (seen.has(name) && !option.multiple) throw new UsageError(`${rawName} is given twice`);
    seen.add(name);
  }
  const extra = positionals[maxPositionals];
  if (extra !== undefined) throw new UsageError(`one argument too many: ${quote(extra)}`);
  const defaults = Object.entries(options).map(([name, { type, default: given }]) => {
    return [name, given ?? (type === "boolean" ? false : undefined)];
  });
  return { options: { ...Object.fromEntries(defaults), ...values }, positionals, given: seen };
}

/** The error for a command, subcommand or option that does not exist, with a suggestion. */
export function unknownName(kind: string, name: string, known: readonly string[]): UsageError {
  const meant = didYouMean(name, known);
  const hint = meant === undefined ? `there are ${known.join(", ")}` : `did you mean ${meant}?`;
  return new UsageError(`unknown ${kind} ${quote(name)}: ${hint}`);
}

/** Parses a whole number from `min` to `max`. `name`: how the user spelled the option, such as `--port`. */
export function numberOption(name: string, text: string, min: number, max: number): number {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (number >= min && number <= max) return number;
  throw new UsageError(`${name} must be a number from ${min} to ${max}, got ${quote(text)}`);
}

/** Checks that an option has one of the `known` values. `name`: how the user spelled the option. */
export function oneOf<T extends string>(name: string, given: string, known: readonly T[]): T {
  if ((known as readonly string[]).includes(given)) return given as T;
  const meant = didYouMean(given, known);
  const hint = meant === undefined ? "" : `: did you mean ${meant}?`;
  throw new UsageError(`${name} must be one of ${known.join(", ")}, got ${quote(given)}${hint}`);
}

const optionNames = (options: Record<string, Option>): string[] => [
  ...Object.keys(options).map((name) => `--${name}`),
  "--help",
];

/** Whether `text` is an http or https URL. */
export const isHttpUrl = (text: string): boolean => /^https?:\/\/[^/]/.test(text) && URL.canParse(text);
