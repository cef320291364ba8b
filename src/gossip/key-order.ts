import { compareUtf8 } from "../lib/compare-utf8.js";

/** Keys in the byte order of their UTF-8 form. They are sorted when they are read, so that adding one is cheap. */
export class KeyOrder {
  #sorted: string[] = [];
  #added: string[] = [];

  /** Adds a key, which must not be present. */
  add(key: string): void {
    this.#added.push(key);
  }

  delete(keys: ReadonlySet<string>): void {
    this.#sorted = this.all().filter((key) => !keys.has(key));
  }

  /** All keys in order. Later changes do not change the array. */
  all(): readonly string[] {
    if (this.#added.length > 0) {
      const added = this.#added.sort(compareUtf8);
      this.#added = [];
      this.#sorted = mergeSorted(this.#sorted, added);
    }
    return this.#sorted;
  }

  /** At most `limit` keys after `after` (undefined: from the first) up to `last` (undefined: to the end). */
  between(after: string | undefined, last?: string, limit = Number.POSITIVE_INFINITY): readonly string[] {
    const keys = this.all();
    const from = after === undefined ? 0 : countUpTo(keys, after);
    const to = last === undefined ? keys.length : countUpTo(keys, last);
    return keys.slice(from, Math.min(to, from + limit));
  }
}

/** The number of `keys` up to `last`, by binary search. */
function countUpTo(keys: readonly string[], last: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareUtf8(keys[middle] as string, last) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Merges two sorted arrays. */
function mergeSorted(a: readonly string[], b: readonly string[]): string[] {
  const merged: string[] = [];
  let i = 0;
  for (const key of b) {
    while (i < a.length && compareUtf8(a[i] as string, key) < 0) merged.push(a[i++] as string);
    merged.push(key);
  }
  while (i < a.length) merged.push(a[i++] as string);
  return merged;
}
