import { checkedName } from "./checks.js";
import { quote } from "./quote.js";

/** A copy of `names`. Throws TypeError or RangeError unless it is an array of valid names or keys. */
export function checkedNames(subject: string, names: readonly string[]): string[] {
  if (!Array.isArray(names)) throw new TypeError(`${subject} must be an array of text, got ${quote(names)}`);
  // Array.from(), not map(): map() skips holes.
  return Array.from(names, (name, i) => checkedName(`${subject}[${i}]`, name));
}
