import type { GossipPersistence, GossipStore } from "../../src/index.js";

/** A step of a store that can be made to fail. */
export type StoreStep = "open" | "load" | "append" | "replace" | "close";

/** Gossip maps kept in memory, with what a test can look at and break. */
export interface MemoryPersistence extends GossipPersistence {
  /** The records of each store. */
  readonly stores: Map<string, { writer: object; record: Uint8Array }[]>;
  /** The calls so far. */
  readonly steps: StoreStep[];
  /** Called before each step; one that throws or rejects makes it fail. */
  intercept: (step: StoreStep) => unknown;
}

/** `scope`: see GossipPersistence. */
export function memoryPersistence(scope?: string): MemoryPersistence {
  const persistence: MemoryPersistence = {
    scope,
    stores: new Map(),
    steps: [],
    intercept: () => {},
    async open(name) {
      await step("open");
      return memoryStore(name);
    },
  };
  const step = async (name: StoreStep) => {
    persistence.steps.push(name);
    await persistence.intercept(name);
  };
  const memoryStore = (name: string): GossipStore => {
    const writer = {};
    const all = () => persistence.stores.get(name) ?? [];
    let known = new Set<Uint8Array>();
    return {
      async load() {
        await step("load");
        const records = all().map(({ record }) => record);
        known = new Set(records);
        return { records };
      },
      async append(record) {
        await step("append");
        known.add(record);
        persistence.stores.set(name, [...all(), { writer, record }]);
      },
      async replace(records) {
        await step("replace");
        const next = [...records];
        const others = all().filter(({ record }) => !known.has(record));
        persistence.stores.set(name, [...others, ...next.map((record) => ({ writer, record }))]);
        known = new Set(next);
      },
      close: () => step("close"),
    };
  };
  return persistence;
}
