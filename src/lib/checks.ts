import { quote } from "./quote.js";
import { utf8Length } from "./utf8.js";

/** The longest name or key, in bytes of UTF-8. */
const NAME_BYTES = 1024;

/**
 * `text` if it is a valid name or key. Throws TypeError if it is not a well-formed string, since all lone surrogates
 * are equal in UTF-8, and RangeError if it is empty or longer than 1024 bytes. `subject` begins the message.
 */
export function checkedName(subject: string, text: string): string {
  if (typeof text !== "string" || /\p{Surrogate}/u.test(text)) {
    throw new TypeError(`${subject} must be well-formed text, got ${quote(text)}`);
  }
  const bytes = utf8Length(text);
  if (bytes > 0 && bytes <= NAME_BYTES) return text;
  throw new RangeError(`${subject} must have 1 to ${NAME_BYTES} bytes, ${quote(text)} has ${bytes}`);
}

/** The type of an option: that of typeof, "texts" for an object of strings, or an array for one of its strings. */
export type OptionType =
  | "string"
  | "boolean"
  | "number"
  | "bigint"
  | "object"
  | "function"
  | "texts"
  | readonly string[];

/**
 * Throws TypeError if an option of `types` is set and not of its type; null counts as set. NaN is a number: ranges are
 * checked elsewhere. `failure` begins the message.
 */
export function checkOptions(
  failure: string,
  options: object,
  types: Readonly<Record<string, OptionType>> = {},
): void {
  checkType(failure, "options", "object", options);
  const all: Readonly<Record<string, OptionType>> = { timeoutMs: "number", signal: "object", ...types };
  const values = options as Record<string, unknown>;
  for (const name in all) {
    if (values[name] !== undefined) checkType(failure, name, all[name] as OptionType, values[name]);
  }
  // 0 and less mean no deadline, as in Connect. NaN would time out at once, or never.
  if (Number.isNaN(values["timeoutMs"]))
    throw new RangeError(`${failure}: timeoutMs must be a number of milliseconds, got NaN`);
}

/** Throws TypeError if `value` is not of `type`. */
export function checkType(failure: string, name: string, type: OptionType, value: unknown): void {
  const isText = (item: unknown) => typeof item === "string";
  const fits =
    typeof type !== "string"
      ? isText(value) && type.includes(value as string)
      : type === "texts"
        ? typeof value === "object" && value !== null && Object.values(value).every(isText)
        : typeof value === type && value !== null;
  if (fits) return;
  const expected =
    typeof type === "string"
      ? type === "texts"
        ? "an object of texts"
        : `of type ${type}`
      : type.map(quote).join(" or ");
  throw new TypeError(`${failure}: ${name} must be ${expected}, got ${quote(value)}`);
}
