import { type DescMessage, fromBinary, isMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { checkOptions } from "../lib/checks.js";
import { quote } from "../lib/quote.js";
import { strictUtf8, utf8 } from "../lib/utf8.js";
import { messageOf } from "./errors/unreadable.js";

/** How values become bytes and come back. */
export interface Codec<T> {
  /** The bytes of `value`. Throws where it has none in this form. */
  encode(value: T): Uint8Array;
  /** The value in `bytes`. Throws where they are not of this form. */
  decode(bytes: Uint8Array): T;
  /** The media type of the encoded form, for events and files. */
  readonly contentType: string;
}

/**
 * Any JSON value. What JSON would turn into something else fails with a TypeError that says where it is: bigint, NaN and
 * Infinity, bytes, Map, Set, Blob and other objects that have no JSON form, and undefined in an array. As in JSON.stringify,
 * toJSON() is asked, so a Date becomes its text, and properties whose value is undefined, a function or a symbol are left out.
 */
export function json<T = unknown>(): Codec<T> {
  return {
    contentType: "application/json",
    encode(value) {
      let encodeValue: string | undefined;
      try {
        encodeValue = JSON.stringify(value);
      } catch (error) {
        // What a bigint is in the way of is told with its place; a cycle as JSON.stringify tells it.
        if (!/bigint/i.test(messageOf(error))) throw error;
      }
      const lost = withoutJson(value);
      if (encodeValue !== undefined && !lost) return utf8(encodeValue);
      const at = lost?.path.length ? ` at ${lost.path.join(".")}` : "";
      throw new TypeError(`json() cannot hold ${quote(lost?.value)}${at}${advice(lost?.value)}`);
    },
    // Some writers put a byte order mark in front, which JSON does not know.
    decode: (bytes) => JSON.parse(strictUtf8(bytes).replace(/^\ufeff/, "")) as T,
  };
}

/** Text as UTF-8. Anything else, and a lone surrogate, which UTF-8 does not have, is refused with a TypeError. */
export function text(): Codec<string> {
  return {
    contentType: "text/plain; charset=utf-8",
    encode(value) {
      if (typeof value !== "string")
        throw new TypeError(`text() takes a string, got ${quote(value)}${advice(value, ": use json()")}`);
      if (/\p{Surrogate}/u.test(value))
        throw new TypeError("text() takes well-formed text, got a lone surrogate");
      return utf8(value);
    },
    decode: strictUtf8,
  };
}

/** The bytes themselves, of a Uint8Array. Anything else is refused with a TypeError. */
export function bytes(): Codec<Uint8Array> {
  return {
    contentType: "application/octet-stream",
    encode(value) {
      if (value instanceof Uint8Array) return value;
      const other = typeof value === "string" ? ": use text()" : ": use json()";
      throw new TypeError(`bytes() takes a Uint8Array, got ${quote(value)}${advice(value, other)}`);
    },
    decode: (value) => value,
  };
}

/** A protobuf message in binary form. Fields that the schema does not know survive. */
export function message<D extends DescMessage>(schema: D): Codec<MessageShape<D>> {
  const { typeName } = schema;
  return {
    contentType: `application/protobuf; messageType="${typeName}"`,
    encode(value) {
      if (isMessage(value, schema)) return toBinary(schema, value);
      throw new TypeError(`message() takes a ${typeName}, got ${quote(value)}: make one with create()`);
    },
    decode: (value) => fromBinary(schema, value),
  };
}

/** A part of a value that JSON would leave out of an array or turn into something else, and where it is. */
type Lost = { value: unknown; path: (string | number)[] };

function withoutJson(value: unknown): Lost | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined;
    case "number":
      return Number.isFinite(value) ? undefined : { value, path: [] };
    case "object":
      if (value === null) return undefined;
      if (Array.isArray(value)) {
        for (let i = 0; i < value.length; i++) {
          const lost = withoutJson(value[i]);
          if (lost) return lostAt(i, lost);
        }
        return undefined;
      }
      return isBytes(value) ? { value, path: [] } : withoutJsonIn(value);
    default:
      return hasToJson(value) ? undefined : { value, path: [] };
  }
}

function withoutJsonIn(value: object): Lost | undefined {
  if (hasToJson(value)) return undefined;
  const entries = Object.keys(value) as (keyof typeof value)[];
  // A Map, a Blob or a RegExp would be an empty object.
  if (entries.length === 0 && quote(value) !== "[object Object]") return { value, path: [] };
  for (const key of entries) {
    const each: unknown = value[key];
    if (each === undefined || typeof each === "function" || typeof each === "symbol") continue;
    const lost = withoutJson(each);
    if (lost) return lostAt(key, lost);
  }
  return undefined;
}

const lostAt = (step: string | number, { value, path }: Lost): Lost => ({ value, path: [step, ...path] });

const hasToJson = (value: unknown): boolean =>
  typeof (value as { toJSON?: unknown } | undefined)?.toJSON === "function";

const isBytes = (value: unknown): boolean => ArrayBuffer.isView(value) || value instanceof ArrayBuffer;

/** What to do instead, for an error about `value`. */
function advice(value: unknown, otherwise = ""): string {
  if (isBytes(value)) return ": bytes() takes a Uint8Array";
  if (value instanceof Blob) return ": read its bytes for bytes(), or put it into files()";
  if (value instanceof Map || value instanceof Set) return ": make it an array or an object";
  return typeof value === "bigint" ? ": make it text" : otherwise;
}

/**
 * Checks values with any Standard Schema (zod, valibot, arktype, …) in both directions: what is written, before it is
 * encoded, and what is read, so that neither a caller nor another client's data can surprise.
 * Throws SchemaError where a value does not fit, and TypeError where the schema checks asynchronously.
 */
export function withSchema<T>(schema: StandardSchema<unknown, T>, inner: Codec<unknown> = json()): Codec<T> {
  const check = (value: unknown): T => {
    const result = schema["~standard"].validate(value);
    if (result instanceof Promise) throw new TypeError("Cannot use this schema: it validates asynchronously");
    if (result.issues) throw new SchemaError(result.issues);
    return result.value;
  };
  return {
    contentType: inner.contentType,
    encode: (value) => {
      check(value);
      return inner.encode(value);
    },
    decode: (value) => check(inner.decode(value)),
  };
}

/** A value that does not fit its schema. */
export class SchemaError extends TypeError {
  /** Everything that is wrong with the value. */
  readonly issues: readonly StandardIssue[];

  /** `what` begins the message. */
  constructor(issues: readonly StandardIssue[], what = "The value does not fit its schema") {
    const lines = issues.map(({ path, message }) => {
      const at = path?.map((step) => String(typeof step === "object" ? step.key : step)).join(".");
      return at ? `${at}: ${message}` : message;
    });
    super(`${what}: ${lines.join("; ")}`);
    this.name = "SchemaError";
    this.issues = issues;
  }
}

/** How a facade's values are coded. */
export interface Coding<T> {
  /** How a value becomes bytes and comes back. Default: `json()`. */
  codec?: Codec<T> | undefined;
  /** Any Standard Schema that values must fit, checked when they are written and when they are read. Default: none. */
  schema?: StandardSchema<unknown, T> | undefined;
}

/** The codec that `coding` asks for. */
export function codecOf<T>(coding: Coding<T>): Codec<T> {
  checkOptions("Cannot code values", coding, { codec: "object", schema: "object" });
  const codec = coding.codec ?? json<T>();
  return coding.schema ? withSchema(coding.schema, codec) : codec;
}

/** The bytes of `value`. Fails with what the codec throws, told with `what` and the media type: TypeError or SchemaError. */
export function encoded<T>(what: string, codec: Codec<T>, value: T): Uint8Array {
  try {
    const given: unknown = codec.encode(value);
    if (given instanceof Uint8Array) return given;
    throw new TypeError(`the codec must give a Uint8Array, got ${quote(given)}`);
  } catch (cause) {
    const told = `${what} as ${codec.contentType}`;
    if (cause instanceof SchemaError) throw new SchemaError(cause.issues, told);
    throw new TypeError(`${told}: ${messageOf(cause)}`, { cause });
  }
}

/** The part of https://standardschema.dev that is used here; any library's schema fits. */
export interface StandardSchema<Input, Output> {
  /** The version of the standard, the library, and its check. */
  readonly "~standard": {
    /** Of the standard. */
    readonly version: 1;
    /** The library. */
    readonly vendor: string;
    /** What the schema says of a value. */
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    /** For the compiler only. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** What a schema says of a value: the value as it takes it, or what is wrong. */
export type StandardResult<T> =
  | { readonly value: T; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] };

/** One thing that is wrong with a value, as the schema's library tells it. */
export type StandardIssue = {
  /** What is wrong. */
  readonly message: string;
  /** Where in the value, from the outside in; undefined: the value itself. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
};
