import btree from "sorted-btree";
import { compareUtf8 } from "../../../lib/utf8.js";

// CommonJS with a default export: Node hands the exports over, some bundlers their default.
const BTree = ((btree as { default?: unknown }).default ?? btree) as typeof btree.default;

/** How many keys under() looks up in the tree at a time. */
const PAGE = 256;

/** Where the order of UTF-16 units, JavaScript's own and faster to compare by, may not be that of UTF-8. */
const UNORDERED = /[\ud800-\uffff]/;

/** Values by key: a hash map to find them, and beside it a tree of the keys that keeps the byte order of their UTF-8. */
export class SortedMap<V> {
  readonly #values = new Map<string, V>();
  readonly #order = new BTree<string, undefined>(undefined, (a, b) => this.#compare(a, b));
  /** Whether both orders agree on all keys: while none has a unit from U+D800 on. */
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
   * two steps: what is deleted is left out, what is replaced is as it is now, and what is added may be seen or not.
   */
  *under(prefix: string, after?: string): Generator<V, void, undefined> {
    // An `after` in front of the prefix is in front of all that it names.
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
