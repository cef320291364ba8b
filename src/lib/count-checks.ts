import { checkType } from "./checks.js";

/** `value` if it is an integer from 1 to `max`; Infinity only if that is `max`. Throws TypeError or RangeError. */
export function checkedCount(
  failure: string,
  name: string,
  value: number,
  max = Number.POSITIVE_INFINITY,
): number {
  checkType(failure, name, "number", value);
  if (value >= 1 && value <= max && (Number.isInteger(value) || value === max)) return value;
  const to = Number.isFinite(max) ? ` to ${max}` : "";
  throw new RangeError(`${failure}: ${name} must be a whole number from 1${to}, got ${value}`);
}

/** `value` if it is a time in milliseconds of `least` or more, and not Infinity unless `endless`. Throws otherwise. */
export function checkedMs(
  failure: string,
  name: string,
  value: number,
  { least = 0, endless = false }: { least?: number; endless?: boolean } = {},
): number {
  checkType(failure, name, "number", value);
  if (value >= least && (endless || Number.isFinite(value))) return value;
  throw new RangeError(
    `${failure}: ${name} must be a number of milliseconds, ${least} or more, got ${value}`,
  );
}
