import { checkType } from "./checks.js";

/** `value` as a whole number from 1 to `most`, Infinity only where that is `most`. */
export function checkedCount(
  what: string,
  name: string,
  value: number,
  most = Number.POSITIVE_INFINITY,
): number {
  checkType(what, name, "number", value);
  if (value >= 1 && value <= most && (Number.isInteger(value) || value === most)) return value;
  const to = Number.isFinite(most) ? ` to ${most}` : "";
  throw new RangeError(`${what}: ${name} must be a whole number from 1${to}, got ${value}`);
}

/** `value` as a time in milliseconds, 0 or more and not Infinity, unless `bounds` say otherwise. */
export function checkedMs(
  what: string,
  name: string,
  value: number,
  { least = 0, endless = false }: { least?: number; endless?: boolean } = {},
): number {
  checkType(what, name, "number", value);
  if (value >= least && (endless || Number.isFinite(value))) return value;
  throw new RangeError(`${what}: ${name} must be a number of milliseconds, ${least} or more, got ${value}`);
}
