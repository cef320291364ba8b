/** Throws where one of a transport's numbers is there and makes no sense: TypeError for no number, RangeError below 0 and for NaN. */
export function checkTransportNumbers(numbers: Readonly<Record<string, number | undefined>>): void {
  for (const [name, value] of Object.entries(numbers)) {
    if (value === undefined || (typeof value === "number" && value >= 0)) continue;
    const Wrong = typeof value === "number" ? RangeError : TypeError;
    throw new Wrong(`Cannot create a transport: ${name} must be a number, 0 or more, got ${String(value)}`);
  }
}
