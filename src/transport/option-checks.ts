/** Throws if an option is given and not a number of 0 or more: a TypeError for another type, else a RangeError. */
export function checkTransportNumbers(numbers: Readonly<Record<string, number | undefined>>): void {
  for (const [name, value] of Object.entries(numbers)) {
    if (value === undefined || (typeof value === "number" && value >= 0)) continue;
    const ErrorType = typeof value === "number" ? RangeError : TypeError;
    throw new ErrorType(
      `Cannot create a transport: ${name} must be a number, 0 or more, got ${String(value)}`,
    );
  }
}
