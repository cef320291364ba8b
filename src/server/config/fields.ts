import { z } from "zod";
import { httpUrl } from "../access/settings.js";

/** A whole number above 0, at most `most`. */
export const count = (most = Number.MAX_SAFE_INTEGER) =>
  z
    .number("must be a number")
    .int("must be a whole number")
    .positive("must be above 0")
    .max(most, `must be at most ${most}`);

/** A duration. */
export const milliseconds = z.number("must be a number of milliseconds").positive("must be above 0");

/** A bigint from `least` to `most`, converted by `asBigint` from what a file can hold. */
export const wholeNumber = (least: bigint, most: bigint, asBigint = fromNumber) =>
  z.preprocess(
    asBigint,
    z
      .bigint("must be a whole number")
      .min(least, least === 1n ? "must be above 0" : `must not be below ${least}`)
      .max(most, `must be at most ${most}`),
  );

function fromNumber(value: unknown): unknown {
  return typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
}

/** Also converts digits: a JSON number cannot have more than 53 bits. */
export function fromNumberOrDigits(value: unknown): unknown {
  return typeof value === "string" && /^-?\d+$/.test(value) ? BigInt(value) : fromNumber(value);
}

/** A text that is not empty. */
export const nonEmptyText = z.string().min(1, "must not be empty");

/** The URL of HTTP requests. */
export const requestUrl = httpUrl.refine((url) => !url.includes("#"), "must not have a fragment (#)");

/** The base URL of a server that Connect calls. */
export const serverUrl = requestUrl.refine((url) => !url.includes("?"), "must not have a query (?)");

/** A table of components of the same settings, by name. */
export const tableOf = <T extends z.ZodType>(settings: T) =>
  z.record(
    z
      .string()
      .min(1)
      .max(255, "must be at most 255 characters")
      .regex(/^\P{Cc}*$/u),
    settings,
  );

/** One of several settings objects, selected by `type`. `types` lists the types for the error message. */
export const typedUnion = <
  T extends readonly [z.core.$ZodTypeDiscriminable, ...z.core.$ZodTypeDiscriminable[]],
>(
  types: string,
  options: T,
) =>
  z.discriminatedUnion("type", options, {
    error: (issue) => (issue.code === "invalid_union" ? `must be ${types}` : undefined),
  });
