import { quote } from "./quote.js";
import { utf8Length } from "./utf8.js";

/** The longest name or key, in bytes of UTF-8. */
const NAME_BYTES = 1024;

/**
 * `text` as a name or key: well-formed text, since two lone surrogates are one and the same in UTF-8. `what` calls it in
 * the error: TypeError for what is no such text, RangeError where it is empty or longer than 1024 bytes.
 */
export function checkedName(what: string, text: string): string {
  if (typeof text !== "string" || /\p{Surrogate}/u.test(text)) {
    throw new TypeError(`${what} must be well-formed text, got ${quote(text)}`);
  }
  const bytes = utf8Length(text);
  if (bytes > 0 && bytes <= NAME_BYTES) return text;
  throw new RangeError(`${what} must have 1 to ${NAME_BYTES} bytes, ${quote(text)} has ${bytes}`);
}

/** The type of an option, as typeof has it; "texts": an object of texts; an array: one of these texts. */
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
 * Throws TypeError where an option of `types` is there and not of its type; null is not the same as undefined. NaN is a
 * number: ranges are for others to check. `what` begins the message.
 */
export function checkOptions(
  what: string,
  options: object,
  types: Readonly<Record<string, OptionType>> = {},
): void {
  checkType(what, "options", "object", options);
  const all = { timeoutMs: "number", signal: "object", ...types } as const;
  for (const [name, type] of Object.entries(all)) {
    const value = (options as Record<string, unknown>)[name];
    if (value !== undefined) checkType(what, name, type, value);
  }
  const { timeoutMs } = options as { timeoutMs?: number };
  // 0 and less are no deadline, as for Connect; NaN would be one that is over at once, or never.
  if (Number.isNaN(timeoutMs))
    throw new RangeError(`${what}: timeoutMs must be a number of milliseconds, got NaN`);
}

/** Throws TypeError where `value` is not of `type`. */
export function checkType(what: string, name: string, type: OptionType, value: unknown): void {
  const isText = (each: unknown) => typeof each === "string";
  const fits =
    typeof type !== "string"
      ? isText(value) && type.includes(value as string)
      : type === "texts"
        ? typeof value === "object" && value !== null && Object.values(value).every(isText)
        : typeof value === type && value !== null;
  if (fits) return;
  const right =
    typeof type === "string"
      ? type === "texts"
        ? "an object of texts"
        : `of type ${type}`
      : type.map(quote).join(" or ");
  throw new TypeError(`${what}: ${name} must be ${right}, got ${quote(value)}`);
}
