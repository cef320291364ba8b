/** The approximate size of a message on the wire, in bytes: its texts and bytes, and 8 for each number. */
export function messageSize(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return NUMBER_BYTES;
  if (value instanceof Uint8Array) return value.length;
  let bytes = 0;
  for (const each of Array.isArray(value) ? value : Object.values(value)) bytes += messageSize(each);
  return bytes;
}

const NUMBER_BYTES = 8;
