import type { DescEnum, DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import { utf8Length } from "../../lib/utf8.js";
import { withMessage } from "../../rpc/dispatch/lazy-signal.js";
import type { Limits } from "../config/config.js";
import { exhausted, invalid } from "../errors.js";
import { OPEN_ENUMS, rulesOf, VALUE_FIELDS } from "./validate/message-rules.js";

/**
 * The one place that validates requests, before any service or engine sees them: required fields, the form of names and
 * keys, the range of numbers, enum numbers that the contract does not know, and the limits on sizes. Checks that depend
 * on stored data, like an etag that does not match or a store that does not exist, are up to the services.
 */
export function validateRequests(limits: Limits): Interceptor {
  const check = messageCheck(limits);
  return (next) => (request) => {
    if (!request.stream) {
      check(request.method.input, request.message);
      return next(request);
    }
    const { message, method } = request;
    const checked = async function* () {
      for await (const part of message) {
        check(method.input, part);
        yield part;
      }
    };
    return next(withMessage(request, checked()));
  };
}

/** Throws a refusal if `message` is not valid. */
export type MessageCheck = (desc: DescMessage, message: Message) => void;

/** The check of validateRequests() for messages that did not come as a request: those of other servers' answers. */
export function messageCheck(limits: Limits): MessageCheck {
  const validator = new Validator(limits);
  return (desc, message) => validator.check(desc, message as never, "");
}

type Fields = Readonly<Record<string, unknown>>;

/** Checks one message. `prefix` is the path of the message in its request, with a dot at its end, or "". */
type FieldsCheck = (message: Fields, prefix: string) => void;

/** Checks one value, which is at `path` of the request. */
type ValueCheck = (value: unknown, path: string) => void;

/** Applies the rules of all message types. It compiles the rules of each type to functions once. */
class Validator {
  readonly #limits: Limits;
  readonly #checks = new Map<DescMessage, FieldsCheck[]>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Throws a refusal if the message, which is at `path` of its request, is not valid. */
  check(desc: DescMessage, message: Fields, path: string): void {
    for (const check of this.#checksOf(desc)) check(message, path ? `${path}.` : "");
  }

  #checksOf(desc: DescMessage): readonly FieldsCheck[] {
    const compiled = this.#checks.get(desc);
    if (compiled) return compiled;
    const checks: FieldsCheck[] = [];
    // Set before it is complete: a message type may contain itself.
    this.#checks.set(desc, checks);
    const valueFields = VALUE_FIELDS.get(desc);
    if (valueFields) checks.push(this.#sizeCheck(valueFields));
    for (const field of desc.fields) {
      const check = this.#fieldCheck(desc, field);
      if (check) checks.push(check);
    }
    return checks;
  }

  /** Checks that the fields that are stored as one value are together no larger than a value may be. */
  #sizeCheck(fields: readonly string[]): FieldsCheck {
    const { valueBytes } = this.#limits;
    const [first, ...others] = fields;
    return (message, prefix) => {
      const size = fields.reduce((sum, field) => sum + sizeOf(message[field]), 0);
      if (size <= valueBytes) return;
      const problem = `${prefix}${first} has ${size} bytes with ${others.join(" and ")}`;
      throw exhausted("valueBytes", valueBytes, problem);
    };
  }

  /** Checks a field by its rule, and the messages or enums in it; undefined if there is nothing to check. */
  #fieldCheck(desc: DescMessage, field: DescField): FieldsCheck | undefined {
    const rule = rulesOf(desc)?.[field.localName];
    const checkContent = this.#contentCheck(field);
    if (!rule && !checkContent) return undefined;
    return (message, prefix) => {
      const oneof = field.oneof && (message[field.oneof.localName] as { case?: string; value?: unknown });
      if (oneof && oneof.case !== field.localName) return;
      const value = oneof ? oneof.value : message[field.localName];
      // An optional scalar that is not set has nothing to check; an unset message may be a required one.
      if (value === undefined && !field.message) return;
      rule?.(value, prefix + field.name, this.#limits);
      if (value !== undefined) checkContent?.(value, prefix + field.name);
    };
  }

  #contentCheck(field: DescField): ValueCheck | undefined {
    const check = this.#valueCheck(field);
    if (!check || field.fieldKind === "scalar") return undefined;
    if (field.fieldKind === "list") {
      return (value, path) => {
        for (const [i, item] of (value as unknown[]).entries()) check(item, `${path}[${i}]`);
      };
    }
    if (field.fieldKind === "map") {
      return (value, path) => {
        for (const [key, item] of Object.entries(value as object))
          check(item, `${path}[${JSON.stringify(key)}]`);
      };
    }
    return check;
  }

  /** Checks one message or enum number in a field; undefined if the field has neither. */
  #valueCheck({ message, enum: desc }: DescField): ValueCheck | undefined {
    if (message) return (value, path) => this.check(message, value as Fields, path);
    return desc && !OPEN_ENUMS.has(desc) ? enumCheck(desc) : undefined;
  }
}

function enumCheck(desc: DescEnum): ValueCheck {
  return (value, path) => {
    if (desc.value[value as number]) return;
    const known = desc.values.map(({ number, name }) => `${number} (${name})`).join(", ");
    throw invalid(path, value, `must be one of ${known}`);
  };
}

/** The bytes of a text, of bytes, or of texts by name. */
function sizeOf(value: unknown): number {
  if (typeof value === "string") return utf8Length(value);
  if (value instanceof Uint8Array) return value.length;
  let size = 0;
  for (const [name, text] of Object.entries(value as Record<string, string>))
    size += utf8Length(name) + utf8Length(text);
  return size;
}
