import { type DescMessage, fromBinary, isMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { checkOptions } from "../lib/checks.js";
import { quote } from "../lib/quote.js";
import { strictUtf8, utf8 } from "../lib/utf8.js";
import { messageOf } from "./errors/unreadable.js";

/** Encodes values as bytes and decodes them. */
export interface Codec<T> {
  /** The bytes of `value`. Throws if the value cannot be encoded. */
  encode(value: T): Uint8Array;
  /** The value in `bytes`. Throws if the bytes cannot be decoded. */
  decode(bytes: Uint8Array): T;
  /** The media type of the encoded form, for events and files. */
  readonly contentType: string;
}

/**
 * A codec for JSON values. Values that JSON would change throw a TypeError with their path: bigint, NaN and Infinity,
 * bytes, Map, Set, Blob and other objects without a JSON form, and undefined in an array. As in JSON.stringify(),
 * toJSON() is called, so that a Date becomes its text, and properties whose value is undefined, a function or a symbol
 * are omitted.
 */
export function json<T = unknown>(): Codec<T> {
  return {
    contentType: "application/json",
    encode(value) {
      let encodedText: string | undefined;
      try {
        encodedText = JSON.stringify(value);
      } catch (error) {
        // A bigint is reported below, with its path. Other errors, as of a cycle, are those of JSON.stringify().
        if (!/bigint/i.test(messageOf(error))) throw error;
      }
      const found = findNoJson(value);
      if (encodedText !== undefined && !found) return utf8(encodedText);
      const at = found?.path.length ? ` at ${found.path.join(".")}` : "";
      throw new TypeError(`json() cannot hold ${quote(found?.value)}${at}${advice(found?.value)}`);
    },
    // Some writers add a byte order mark, which JSON.parse() does not accept.
    decode: (bytes) => JSON.parse(strictUtf8(bytes).replace(/^\ufeff/, "")) as T,
  };
}

/** A codec for text as UTF-8. Other values throw TypeError, as do lone surrogates, which UTF-8 cannot encode. */
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

/** A codec for the bytes of a Uint8Array. Other values throw TypeError. */
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

/** A codec for protobuf messages in binary form. Fields that the schema does not know are kept. */
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

/** A part of a value that JSON would change, and its path. */
type NoJson = { value: unknown; path: (string | number)[] };

function findNoJson(value: unknown): NoJson | undefined {
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
          const found = findNoJson(value[i]);
          if (found) return withStep(i, found);
        }
        return undefined;
      }
      return isBytes(value) ? { value, path: [] } : findNoJsonIn(value);
    default:
      return hasToJson(value) ? undefined : { value, path: [] };
  }
}

function findNoJsonIn(value: object): NoJson | undefined {
  if (hasToJson(value)) return undefined;
  const entries = Object.keys(value) as (keyof typeof value)[];
  // A Map, a Blob or a RegExp would be an empty object.
  if (entries.length === 0 && quote(value) !== "[object Object]") return { value, path: [] };
  for (const key of entries) {
    const property: unknown = value[key];
    if (property === undefined || typeof property === "function" || typeof property === "symbol") continue;
    const found = findNoJson(property);
    if (found) return withStep(key, found);
  }
  return undefined;
}

const withStep = (step: string | number, { value, path }: NoJson): NoJson => ({
  value,
  path: [step, ...path],
});

const hasToJson = (value: unknown): boolean =>
  typeof (value as { toJSON?: unknown } | undefined)?.toJSON === "function";

const isBytes = (value: unknown): boolean => ArrayBuffer.isView(value) || value instanceof ArrayBuffer;

/** The end of an error message about `value`: how to store it instead. */
function advice(value: unknown, otherwise = ""): string {
  if (isBytes(value)) return ": bytes() takes a Uint8Array";
  if (value instanceof Blob) return ": read its bytes for bytes(), or put it into files()";
  if (value instanceof Map || value instanceof Set) return ": make it an array or an object";
  return typeof value === "bigint" ? ": make it text" : otherwise;
}

/**
 * A codec that validates values with a Standard Schema (zod, valibot, arktype, …), before they are encoded and after
 * they are decoded. Throws SchemaError if a value does not fit, and TypeError if the schema validates asynchronously.
 *
 * @example
 * ```ts
 * import { createState, withSchema } from "fairlead";
 * import { createWebTransport } from "fairlead/web";
 * import { z } from "zod";
 *
 * const codec = withSchema(z.object({ items: z.array(z.string()) }));
 * const carts = createState(createWebTransport("http://localhost:34904"), "default", { codec });
 * await carts.set("ada", { items: ["pen"] }); // anything else throws SchemaError
 * ```
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

/** The error of a value that does not fit its schema. */
export class SchemaError extends TypeError {
  /** All issues of the value. */
  readonly issues: readonly StandardIssue[];

  /** `failure` begins the message. */
  constructor(issues: readonly StandardIssue[], failure = "The value does not fit its schema") {
    const lines = issues.map(({ path, message }) => {
      const at = path?.map((step) => String(typeof step === "object" ? step.key : step)).join(".");
      return at ? `${at}: ${message}` : message;
    });
    super(`${failure}: ${lines.join("; ")}`);
    this.name = "SchemaError";
    this.issues = issues;
  }
}

/** Options for the encoding of values. */
export interface Coding<T> {
  /** Encodes and decodes the values. Default: `json()`. */
  codec?: Codec<T> | undefined;
  /** A Standard Schema that values must fit when they are written and read. Default: none. */
  schema?: StandardSchema<unknown, T> | undefined;
}

/** The codec that `coding` selects. */
export function codecOf<T>(coding: Coding<T>): Codec<T> {
  checkOptions("Cannot code values", coding, { codec: "object", schema: "object" });
  const codec = coding.codec ?? json<T>();
  return coding.schema ? withSchema(coding.schema, codec) : codec;
}

/**
 * The bytes of `value`. Throws TypeError or SchemaError, with `failure`, the media type and the message of the codec's
 * error.
 */
export function encoded<T>(failure: string, codec: Codec<T>, value: T): Uint8Array {
  try {
    const result: unknown = codec.encode(value);
    if (result instanceof Uint8Array) return result;
    throw new TypeError(`the codec must give a Uint8Array, got ${quote(result)}`);
  } catch (cause) {
    const message = `${failure} as ${codec.contentType}`;
    if (cause instanceof SchemaError) throw new SchemaError(cause.issues, message);
    throw new TypeError(`${message}: ${messageOf(cause)}`, { cause });
  }
}

/** A schema of any library that implements https://standardschema.dev: the part of it that is used here. */
export interface StandardSchema<Input, Output> {
  /** The properties that the standard defines. */
  readonly "~standard": {
    /** The version of the standard. */
    readonly version: 1;
    /** The name of the library. */
    readonly vendor: string;
    /** Validates a value. */
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    /** The types of the schema, for the compiler. Not set at run time. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** The result of a validation: the value as the schema returns it, or the issues. */
export type StandardResult<T> =
  | { readonly value: T; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] };

/** An issue that a validation found. */
export type StandardIssue = {
  /** The message of the library. */
  readonly message: string;
  /** The path within the value; undefined for the value itself. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
};
