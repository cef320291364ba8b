/** `value` as an error message quotes it: at most 80 characters of text, and nothing of an object but its kind. */
export function quote(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 79)}…` : value);
  if (typeof value === "bigint") return `${value}n`;
  return Object(value) === value ? Object.prototype.toString.call(value) : String(value);
}
