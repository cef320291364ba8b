import { checkedName } from "./checks.js";
import { quote } from "./quote.js";

/** A copy of `names`, an array of names or keys without holes. */
export function checkedNames(what: string, names: readonly string[]): string[] {
  if (!Array.isArray(names)) throw new TypeError(`${what} must be an array of text, got ${quote(names)}`);
  // Not by map(), which passes over holes.
  return Array.from(names, (name, i) => checkedName(`${what}[${i}]`, name));
}
