import { fromUtf8 } from "../../lib/utf8.js";
import type { Primitive } from "../../server/primitives.js";
import { differentValue, type Expectation, finding } from "../expectation.js";
import type { Deviation } from "../profile.js";
import type { ConformanceRule } from "../rules.js";

/** The in-memory state store returns the base64 of the stored value. */
export const base64Value = differentValue("the value in base64", (actual, expected) => {
  const [got, wanted] = [valueText(actual), valueText(expected)];
  return (
    got !== undefined && wanted !== undefined && (got === toBase64(wanted) || isInBase64(actual, expected))
  );
});

export const missingEtag = finding(
  "no etag, or the one that the client sent",
  /^(not true: it is a number: ""|not true: etag .* is new)/,
);
export const anotherValue = differentValue(
  "another value",
  (actual, expected) => actual !== undefined && expected !== undefined,
);
export const emptyValue = differentValue("nothing", (actual) => isEmpty(actual));

/** Whether `actual` is `expected` with some values replaced by their base64. */
function isInBase64(actual: unknown, expected: unknown): boolean {
  if (!Array.isArray(actual) || !Array.isArray(expected) || actual.length !== expected.length) return false;
  return actual.every((value, i) => {
    const [got, wanted] = [valueText(value), valueText(expected[i])];
    if (Array.isArray(value)) return isInBase64(value, expected[i]);
    return value === expected[i] || (got !== undefined && wanted !== undefined && got === toBase64(wanted));
  });
}

function valueText(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return value instanceof Uint8Array ? fromUtf8(value) : undefined;
}

const toBase64 = (text: string): string => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
const isEmpty = (value: unknown): boolean =>
  value === undefined || value === "" || (Object(value) as ArrayLike<unknown>).length === 0;

/** A deviation of the runtime in the cases of a rule. */
export const deviationsOf =
  (primitive: Primitive) =>
  (rule: ConformanceRule, reason: string, expected: Expectation[], name?: RegExp): Deviation => ({
    primitive,
    rule,
    reason: reason,
    expected,
    ...(name && { name }),
  });
