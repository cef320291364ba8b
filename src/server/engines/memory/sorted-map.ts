import btree from "sorted-btree";
import { compareUtf8 } from "../../../lib/compare-utf8.js";

// A CommonJS module with a default export: Node imports its exports, some bundlers the default among them.
const BTree = ((btree as { default?: unknown }).default ?? btree) as typeof btree.default;

/** How many keys valuesUnder() reads from the tree at a time. */
const PAGE = 256;

/** In keys with such units, the order of UTF-16, which JavaScript compares faster, can differ from that of UTF-8. */
const UNORDERED = /[\ud800-\uffff]/;

/** Values by key: a hash map for lookups, and a tree that keeps the keys in the byte order of their UTF-8. */
export class SortedMap<V> {
  readonly #values = new Map<string, V>();
  readonly #order = new BTree<string, undefined>(undefined, (a, b) => this.#compare(a, b));
  /** Whether both orders agree on all keys: no key has a unit of U+D800 or above. */
  #plain = true;

  get size(): number {
    return this.#values.size;
  }

  get(key: string): V | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: V): void {
    if (!this.#values.has(key)) {
      this.#plain &&= !UNORDERED.test(key);
      this.#order.set(key, undefined);
    }
    this.#values.set(key, value);
  }

  delete(key: string): boolean {
    return this.#values.delete(key) && this.#order.delete(key);
  }

  clear(): void {
    this.#values.clear();
    this.#order.clear();
  }

  /**
   * The values whose keys start with `prefix` and come after the key `after`, in order. The map may change between
   * two steps: deleted values are omitted, replaced values are current, and added values may or may not be seen.
   */
  *valuesUnder(prefix: string, after?: string): Generator<V, void, undefined> {
    // An `after` that sorts before the prefix excludes nothing.
    let past = after !== undefined && compareUtf8(after, prefix) >= 0 ? after : undefined;
    while (true) {
      const page: string[] = [];
      for (const key of this.#order.keys(past ?? prefix)) {
        if (key === past) continue;
        if (!key.startsWith(prefix)) break;
        if (page.push(key) === PAGE) break;
      }
      for (const key of page) {
        const value = this.#values.get(key);
        if (value !== undefined) yield value;
      }
      if (page.length < PAGE) return;
      past = page.at(-1);
    }
  }

  #compare(a: string, b: string): number {
    if (a === b) return 0;
    if (this.#plain) return a < b ? -1 : 1;
    return compareUtf8(a, b);
  }
}
