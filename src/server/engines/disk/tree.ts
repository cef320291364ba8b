import { away, systemFault } from "./faults.js";
import { Groups } from "./groups.js";
import { type Op, type Page, type Snapshot, Store, type StoreEntry, type StoreOptions } from "./store.js";

export interface TreeOptions extends StoreOptions {
  /** What the counter is to begin at, at least. Default: 0. */
  counter?: bigint;
}

/** One call's writes: durable together, and then seen together. */
type Batch = { ops: Op[]; applied: () => void };

/** What a tree was at one moment. */
export interface Moment {
  counter: bigint;
  all(prefix: string): AsyncGenerator<StoreEntry, void, undefined>;
  release(): Promise<void>;
}

/** Where the tree keeps its counter. */
const COUNTER = "c";

/** How many entries all() reads at a time. */
const AT_ONCE = 256;

/**
 * Bytes by key, in the order of their UTF-8. What is seen is durable. A get takes its turn of the event loop; pages and
 * writes do not, and writes are grouped.
 */
export class Tree {
  readonly #store: Store;
  readonly #groups = new Groups<Batch>(
    (batches) => this.#write(batches),
    () => this.#pending.clear(),
  );
  /** What is written and not yet durable. */
  readonly #pending = new Map<string, Op>();
  #counter: bigint;
  #closed = false;

  private constructor(store: Store, counter: bigint) {
    this.#store = store;
    this.#counter = counter;
  }

  /** Opens the tree in `folder`, making it where there is none. Fails as damaged where anything acknowledged is missing. */
  static async open(folder: string, { counter = 0n, ...options }: TreeOptions): Promise<Tree> {
    const store = await Store.open(folder, options);
    try {
      const saved = store.get(COUNTER)?.readBigUInt64LE() ?? 0n;
      return new Tree(store, saved > counter ? saved : counter);
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  /** A number above all that were given out before, in earlier lives of the folder too, once a write behind it is durable. */
  nextVersion(): bigint {
    return ++this.#counter;
  }

  /** The durable value at `key`. */
  get(key: string): Buffer | undefined {
    this.#open();
    return this.#store.get(key);
  }

  /** The value at `key` once all that is being written is durable: what conditions are about. */
  latest(key: string): Buffer | undefined {
    const op = this.#pending.get(key);
    return op ? op.value : this.get(key);
  }

  /** Whether the key is being written. */
  isPending(key: string): boolean {
    return this.#pending.has(key);
  }

  /**
   * Writes all of `ops` or none. When they are durable, `applied` is called, readers see them, and it resolves: then all
   * that was written before is durable as well.
   */
  async write(ops: Op[], applied: () => void = () => {}): Promise<void> {
    this.#open();
    for (const op of ops) this.#pending.set(op.key, op);
    const bytes = ops.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0);
    try {
      await this.#groups.add({ ops, applied }, bytes);
    } catch (error) {
      throw systemFault(error) ?? error;
    }
  }

  /** Entries under `prefix` behind the key `after`, at most `most`: as they are at this call. */
  async page(prefix: string, after: string | undefined, most: number): Promise<Page> {
    this.#open();
    return this.#store.page(prefix, after, most);
  }

  /** Every entry under `prefix`, page by page; "": all of them. */
  async *all(prefix: string, snapshot?: Snapshot): AsyncGenerator<StoreEntry, void, undefined> {
    for (let past: string | undefined; ; ) {
      this.#open();
      const page = await this.#store.page(prefix, past, AT_ONCE, snapshot);
      yield* page.entries.filter(({ key }) => key !== COUNTER);
      if (page.after === undefined) return;
      past = page.after;
    }
  }

  /** What there is now, to be read while the tree goes on: for a backup. */
  moment(): Moment {
    this.#open();
    const snapshot = this.#store.snapshot();
    return {
      counter: this.#counter,
      all: (prefix) => this.all(prefix, snapshot),
      release: () => snapshot.close(),
    };
  }

  /** Waits for writes under way. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#groups.settled();
    await this.#store.close();
  }

  #open(): void {
    if (this.#closed) throw away();
  }

  async #write(batches: Batch[]): Promise<void> {
    const ops = batches.flatMap(({ ops }) => ops);
    if (ops.length > 0) {
      // Each group counts as well: that tells it from all others.
      const counter = Buffer.alloc(8);
      counter.writeBigUInt64LE(++this.#counter);
      await this.#store.write([...ops, { key: COUNTER, value: counter }], counter);
    }
    for (const { ops, applied } of batches) {
      for (const op of ops) if (this.#pending.get(op.key) === op) this.#pending.delete(op.key);
      applied();
    }
  }
}
