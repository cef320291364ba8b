import btree from "sorted-btree";

// CommonJS with a default export: Node hands the exports over, some bundlers their default.
const BTree = ((btree as { default?: unknown }).default ?? btree) as typeof btree.default;

/** A map in the order of `compare`, with logarithmic writes and ordered reads from any key on. */
export type SortedMap<K, V> = InstanceType<typeof btree.default<K, V>>;

export function createSortedMap<K, V>(compare: (a: K, b: K) => number): SortedMap<K, V> {
  return new BTree<K, V>(undefined, compare);
}

/** The values whose keys start with `prefix` and come after the key `after`. The map may change between two steps. */
export function* valuesUnder<V>(
  map: SortedMap<string, V>,
  prefix: string,
  after?: string,
): Generator<V, void, undefined> {
  let pair = after === undefined ? map.getPairOrNextHigher(prefix) : map.nextHigherPair(after);
  // An `after` in front of the whole prefix names no place under it.
  if (pair && after !== undefined && !after.startsWith(prefix)) pair = map.getPairOrNextHigher(prefix);
  while (pair?.[0].startsWith(prefix)) {
    const [key, value] = pair;
    yield value;
    pair = map.nextHigherPair(key);
  }
}
