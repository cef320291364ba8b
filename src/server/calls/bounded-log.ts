import type { Logger } from "../context.js";
import { silent } from "../context.js";

/** The most characters of a text in a field, of an error's message, and of its stack. */
const TEXT_LENGTH = 200;
const MESSAGE_LENGTH = 1000;
const STACK_LENGTH = 8000;

/** The most levels of nested fields; deeper ones are left out. */
const MAX_DEPTH = 4;

/** The most items of a list, and the most fields of an object. */
const MAX_ITEMS = 50;

/**
 * A log that cuts every text in its fields. Names, headers, paths and the errors of apps come from outside and may have
 * any length, but a line of the log may not.
 */
export function boundedLog(log: Logger): Logger {
  if (log === silent) return log;
  const at =
    (level: keyof Logger): Logger[keyof Logger] =>
    (fields, message) =>
      log[level](bounded(fields, 0) as object, cut(message, MESSAGE_LENGTH));
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** `value` with its texts cut; `value` itself if none is too long. */
function bounded(value: unknown, depth: number): unknown {
  if (typeof value === "string") return cut(value, TEXT_LENGTH);
  if (typeof value !== "object" || value === null) return value;
  if (depth === MAX_DEPTH) return "…";
  if (value instanceof Error) return boundedError(value, depth);
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
  if (Array.isArray(value))
    return changed(
      value,
      value.slice(0, MAX_ITEMS).map((item) => bounded(item, depth + 1)),
    );
  const entries = Object.entries(value);
  const kept = entries
    .slice(0, MAX_ITEMS)
    .map(([name, each]) => [cut(name, TEXT_LENGTH), bounded(each, depth + 1)]);
  const isSame =
    kept.length === entries.length &&
    kept.every(([name, each], i) => name === entries[i]?.[0] && each === entries[i]?.[1]);
  return isSame ? value : Object.fromEntries(kept);
}

const changed = (before: unknown[], after: unknown[]): unknown[] =>
  before.length === after.length && before.every((item, i) => item === after[i]) ? before : after;

/**
 * `error` itself if all of it is short, its causes too: loggers recognize its type. Else a copy with the fields that
 * loggers print: its other fields, like the details of a ConnectError, may be large.
 */
function boundedError(error: Error, depth: number): Error {
  const { name, message, stack = "", cause } = error;
  const fields: Record<string, unknown> = {
    name,
    message: cut(message, MESSAGE_LENGTH),
    stack: cut(stack, STACK_LENGTH),
  };
  if ("code" in error) fields["code"] = error.code;
  if (cause !== undefined) fields["cause"] = bounded(cause, depth + 1);
  const isShort = fields["message"] === message && fields["stack"] === stack && fields["cause"] === cause;
  if (
    isShort &&
    Object.values(error).every((value) => value === cause || bounded(value, MAX_DEPTH) === value)
  ) {
    return error;
  }
  const copy = Object.create(Object.getPrototypeOf(error)) as Error;
  for (const [field, value] of Object.entries(fields)) {
    Object.defineProperty(copy, field, {
      value,
      configurable: true,
      writable: true,
      enumerable: field === "code",
    });
  }
  return copy;
}

const cut = (text: string, most: number): string =>
  text.length > most ? `${text.slice(0, most)}… (${text.length} characters)` : text;
