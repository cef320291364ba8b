import { z } from "zod";
import { didYouMean } from "../../lib/did-you-mean.js";
import { quote } from "../../lib/quote.js";

/** One problem of a configuration. */
export interface ConfigProblem {
  /** The path to the field: names, and indexes of list items. Empty: the whole configuration. */
  path: (string | number)[];
  /** Whether the name itself is wrong, or its value. */
  wrong: "name" | "value";
  /** The field, its value unless it may be a secret, and what would be right. */
  message: string;
}

/** The error for a configuration that cannot be used, with all its problems. */
export class ConfigError extends TypeError {
  /** All problems, each with its place. */
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(`Cannot use this configuration: ${problems.map(({ message }) => message).join("; ")}`);
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** The message for an issue of zod for which the schema has no message of its own. */
export function explainIssue(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type": {
      const right = `must be ${TYPES[issue.expected] ?? issue.expected}`;
      return issue.input === undefined ? MISSING + right : right;
    }
    case "invalid_key":
      return "must have 1 to 255 characters, and no control characters";
    case "invalid_value":
      return `must be ${issue.values.map(quote).join(" or ")}`;
    default:
      return undefined;
  }
}

const MISSING = "is missing: ";

const TYPES: Record<string, string> = {
  object: "an object",
  record: "an object",
  array: "a list",
  string: "a text",
  number: "a number",
  boolean: "true or false",
};

/** The problems for the `issues` that `schema` found in `input`. */
export function problemsOf(
  issues: readonly z.core.$ZodIssue[],
  schema: z.ZodType,
  input: unknown,
): ConfigProblem[] {
  return issues.flatMap((issue) => {
    const path = issue.path.map((part) => (typeof part === "number" ? part : String(part)));
    if (issue.code === "unrecognized_keys") {
      const known = namesAt(schema, path, input);
      return issue.keys.map((key) => problem([...path, key], "name", unknown(key, known)));
    }
    if (issue.code === "invalid_key") return [problem(path, "name", issue.message)];
    const value = valueAt(path, input);
    const secret = issue.code === "custom" && issue.params?.["secret"] === true;
    const quotable = secret || mayBeSecret(path) || value instanceof Object ? undefined : value;
    const missing = value === undefined && !issue.message.startsWith(MISSING);
    return [problem(path, "value", `${missing ? MISSING : ""}${issue.message}`, quotable)];
  });
}

/** The problem of the field at `path`. `value` is quoted, and left out if it may be a secret. */
export function problem(
  path: ConfigProblem["path"],
  wrong: ConfigProblem["wrong"],
  why: string,
  value?: unknown,
): ConfigProblem {
  const message = `${field(path)}${value === undefined ? "" : ` ${quote(value)}`}: ${why}`;
  return { path, wrong, message };
}

/** The path as JavaScript writes it: `secrets.default.allow[0]`. */
function field(path: readonly (string | number)[]): string {
  if (path.length === 0) return "the configuration";
  const parts = path.map((part) => {
    if (typeof part === "number") return `[${part}]`;
    return /^[\w$-]+$/.test(part) ? `.${part}` : `[${quote(part)}]`;
  });
  return parts.join("").replace(/^\./, "");
}

function unknown(name: string, known: readonly string[]): string {
  const meant = didYouMean(name, known);
  if (meant !== undefined) return `is not known, did you mean ${quote(meant)}?`;
  return `is not known; those that are: ${known.join(", ") || "nothing"}`;
}

/** Whether a value at this path may be a secret. */
const mayBeSecret = (path: readonly (string | number)[]): boolean =>
  path.some((part) => /^values$|token|secret$|password/i.test(String(part)));

function valueAt(path: readonly (string | number)[], input: unknown): unknown {
  let value = input;
  for (const part of path) value = Object(value)[part];
  return value;
}

/** The names that the object at `path` can have. */
function namesAt(schema: z.ZodType, path: readonly (string | number)[], input: unknown): string[] {
  let at = unwrapped(schema, input);
  let value = input;
  for (const part of path) {
    value = Object(value)[part];
    at = unwrapped(inside(at, part), value);
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

type Schema = z.core.$ZodType | undefined;

function inside(schema: Schema, part: string | number): Schema {
  if (schema instanceof z.ZodObject) return schema.shape[part];
  if (schema instanceof z.ZodRecord) return schema.valueType;
  return schema instanceof z.ZodArray ? schema.element : undefined;
}

/** The schema of a present value: of a union, the member of its type. */
function unwrapped(schema: Schema, value: unknown): Schema {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodOptional) {
    return unwrapped(schema.unwrap(), value);
  }
  if (!(schema instanceof z.ZodDiscriminatedUnion)) return schema;
  const { type } = Object(value) as { type?: unknown };
  return schema.options.find((option) => {
    const tag = option instanceof z.ZodObject ? option.shape["type"] : undefined;
    return tag instanceof z.ZodLiteral && tag.value === type;
  });
}
