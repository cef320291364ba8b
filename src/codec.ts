import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { fromUtf8, utf8 } from "./internal/utf8.js";

/** How values become bytes and come back. */
export interface Codec<T> {
  /** The bytes of `value`. Throws where it has none in this form. */
  encode(value: T): Uint8Array;
  /** The value in `bytes`. Throws where they are not of this form. */
  decode(bytes: Uint8Array): T;
  /** The media type of the encoded form, for events and files. */
  readonly contentType: string;
}

/** Any JSON value. What JSON cannot hold (bigint, undefined, functions) fails or is left out, as JSON.stringify does. */
export function json<T = unknown>(): Codec<T> {
  return {
    contentType: "application/json",
    encode(value) {
      const text = JSON.stringify(value);
      if (text === undefined)
        throw new TypeError(`Cannot encode ${typeof value} as JSON: it has no JSON form`);
      return utf8(text);
    },
    // Some writers put a byte order mark in front, which JSON does not know.
    decode: (bytes) => JSON.parse(fromUtf8(bytes).replace(/^\ufeff/, "")) as T,
  };
}

/** Text as UTF-8. */
export function text(): Codec<string> {
  return { contentType: "text/plain; charset=utf-8", encode: utf8, decode: fromUtf8 };
}

/** The bytes themselves. */
export function bytes(): Codec<Uint8Array> {
  return { contentType: "application/octet-stream", encode: (value) => value, decode: (value) => value };
}

/** A protobuf message in binary form. Fields that the schema does not know survive. */
export function message<D extends DescMessage>(schema: D): Codec<MessageShape<D>> {
  return {
    contentType: `application/protobuf; messageType="${schema.typeName}"`,
    encode: (value) => toBinary(schema, value),
    decode: (value) => fromBinary(schema, value),
  };
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

  constructor(issues: readonly StandardIssue[]) {
    const lines = issues.map(({ path, message }) => {
      const at = path?.map((step) => String(typeof step === "object" ? step.key : step)).join(".");
      return at ? `${at}: ${message}` : message;
    });
    super(`The value does not fit its schema: ${lines.join("; ")}`);
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
  const codec = coding.codec ?? json<T>();
  return coding.schema ? withSchema(coding.schema, codec) : codec;
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
