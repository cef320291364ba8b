import { compareUtf8 } from "../lib/utf8.js";

/** Keys in the byte order of their UTF-8 form. Sorted when they are asked for, so that adding one costs nothing. */
export class KeyOrder {
  #sorted: string[] = [];
  #added: string[] = [];

  /** Adds a key that is not in it. */
  add(key: string): void {
    this.#added.push(key);
  }

  delete(keys: ReadonlySet<string>): void {
    this.#sorted = this.all().filter((key) => !keys.has(key));
  }

  /** All keys in order. The array stays as it is, whatever is added later. */
  all(): readonly string[] {
    if (this.#added.length > 0) {
      const added = this.#added.sort(compareUtf8);
      this.#added = [];
      this.#sorted = merged(this.#sorted, added);
    }
    return this.#sorted;
  }

  /** The keys after `after` (undefined: from the first) up to `last` (undefined: to the end), at most `most`. */
  between(after: string | undefined, last?: string, most = Number.POSITIVE_INFINITY): readonly string[] {
    const keys = this.all();
    const from = after === undefined ? 0 : countUpTo(keys, after);
    const to = last === undefined ? keys.length : countUpTo(keys, last);
    return keys.slice(from, Math.min(to, from + most));
  }
}

/** How many of `keys` are not above `limit`. */
function countUpTo(keys: readonly string[], limit: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareUtf8(keys[middle] as string, limit) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function merged(a: readonly string[], b: readonly string[]): string[] {
  const all: string[] = [];
  let i = 0;
  for (const key of b) {
    while (i < a.length && compareUtf8(a[i] as string, key) < 0) all.push(a[i++] as string);
    all.push(key);
  }
  while (i < a.length) all.push(a[i++] as string);
  return all;
}
