import { Clock, type ClockSources } from "../shared/clock.js";
import { closedError } from "../shared/errors.js";
import { toEngineFault } from "./errors.js";
import { GroupCommit } from "./group-commit.js";
import { decodeMetadata, encodeMetadata, METADATA_KEY, type Metadata, type StoreUsage } from "./metadata.js";
import { Store, type StoreOptions, type StorePage, type StoreSnapshot, type WriteOp } from "./store.js";
import type { StoreEntry } from "./store-entry.js";

export interface TreeOptions extends StoreOptions {
  /** The machine's clocks. */
  clocks: ClockSources;
  /** What a tree that is empty goes on from. */
  books?: Metadata;
}

/** One call's writes: durable together, and then seen together. */
type Batch = { ops: WriteOp[]; applied: () => void; grown: Partial<StoreUsage> };

/** What a tree was at one moment. */
export interface TreeSnapshot {
  clocks: ClockSources;
  /** What was kept with the last write in front of it. */
  books(): Promise<Metadata>;
  all(prefix: string): AsyncGenerator<StoreEntry, void, undefined>;
  release(): Promise<void>;
}

/** How many entries all() reads at a time. */
const AT_ONCE = 256;

/**
 * Bytes by key, in the order of their UTF-8. What is seen is durable. A get takes its turn of the event loop; pages and
 * writes do not, and writes are grouped.
 */
export class Tree {
  /** The time that everything in it goes by. */
  readonly clock: Clock;
  readonly #clocks: ClockSources;
  readonly #store: Store;
  readonly #groups = new GroupCommit<Batch>(
    (batches) => this.#write(batches),
    () => this.#failed(),
  );
  /** What is written and not yet durable. */
  readonly #pending = new Map<string, WriteOp>();
  #counter: bigint;
  /** What is durable, and what will be once all that is written is. */
  #usage: StoreUsage;
  #expected: StoreUsage;
  /** Whether the usage is known: not in a folder of a version that did not count. */
  isCounted: boolean;
  #closed = false;

  private constructor(store: Store, clocks: ClockSources, { counter, clock, usage }: Metadata) {
    this.#store = store;
    this.#clocks = clocks;
    this.clock = new Clock(clocks, clock);
    this.#counter = counter;
    this.isCounted = usage !== undefined;
    this.#usage = usage ?? { keys: 0, blobs: 0 };
    this.#expected = { ...this.#usage };
  }

  /** Opens the tree in `folder`, making it where there is none. Fails as damaged where anything acknowledged is missing. */
  static async open(folder: string, { books, clocks, ...options }: TreeOptions): Promise<Tree> {
    const store = await Store.open(folder, options);
    try {
      return new Tree(store, clocks, books ?? decodeMetadata(store.get(METADATA_KEY)));
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  /** The bytes that count for bounds once all that is being written is durable. */
  get usage(): Readonly<StoreUsage> {
    return this.#expected;
  }

  /** Says what the usage is, where it was not counted before. */
  async count(usage: StoreUsage): Promise<void> {
    this.#usage = { ...usage };
    this.#expected = { ...usage };
    this.isCounted = true;
    await this.keepBooks();
  }

  /** Writes down the time as it is now. */
  async keepBooks(): Promise<void> {
    // No group is written without an operation: this one is of no effect.
    await this.write([{ key: "counted", value: undefined }]);
  }

  /** A number above all that were given out before, in earlier lives of the folder too, once a write behind it is durable. */
  nextVersion(): bigint {
    return ++this.#counter;
  }

  /** The durable value at `key`. */
  get(key: string): Buffer | undefined {
    this.#checkOpen();
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
   * that was written before is durable as well. `grown` is by how much that changes the usage.
   */
  async write(
    ops: WriteOp[],
    applied: () => void = () => {},
    grown: Partial<StoreUsage> = {},
  ): Promise<void> {
    this.#checkOpen();
    this.#expected = sumOf(this.#expected, grown);
    for (const op of ops) this.#pending.set(op.key, op);
    const bytes = ops.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0);
    try {
      await this.#groups.add({ ops, applied, grown }, bytes);
    } catch (error) {
      throw toEngineFault(error) ?? error;
    }
  }

  /** Entries under `prefix` behind the key `after`, at most `most`: as they are at this call. */
  async page(prefix: string, after: string | undefined, most: number): Promise<StorePage> {
    this.#checkOpen();
    return this.#store.page(prefix, after, most);
  }

  /** Every entry under `prefix`, page by page; "": all of them. */
  async *all(prefix: string, snapshot?: StoreSnapshot): AsyncGenerator<StoreEntry, void, undefined> {
    for (let past: string | undefined; ; ) {
      this.#checkOpen();
      const page = await this.#store.page(prefix, past, AT_ONCE, snapshot);
      yield* page.entries.filter(({ key }) => key !== METADATA_KEY);
      if (page.after === undefined) return;
      past = page.after;
    }
  }

  /** What there is now, to be read while the tree goes on: for a backup. */
  moment(): TreeSnapshot {
    this.#checkOpen();
    const snapshot = this.#store.snapshot();
    return {
      clocks: this.#clocks,
      books: async () => {
        const { entries } = await this.#store.page(METADATA_KEY, undefined, 1, snapshot);
        return decodeMetadata(entries.find(({ key }) => key === METADATA_KEY)?.value);
      },
      all: (prefix) => this.all(prefix, snapshot),
      release: () => snapshot.close(),
    };
  }

  /** Waits for writes under way. */
  async close(): Promise<void> {
    // From this moment on the folder is closed. Where the disk refuses, it is so since the last write.
    if (!this.#closed) await this.keepBooks().catch(() => {});
    this.#closed = true;
    await this.#groups.settled();
    await this.#store.close();
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError("disk");
  }

  async #write(batches: Batch[]): Promise<void> {
    const ops = batches.flatMap(({ ops }) => ops);
    if (ops.length > 0) {
      const usage = batches.reduce((sum, { grown }) => sumOf(sum, grown), this.#usage);
      // Each group counts as well: that tells it from all others.
      const books = encodeMetadata(++this.#counter, this.clock.save(), usage);
      await this.#store.write([...ops, { key: METADATA_KEY, value: books }], books);
      this.#usage = usage;
    }
    for (const { ops, applied } of batches) {
      for (const op of ops) if (this.#pending.get(op.key) === op) this.#pending.delete(op.key);
      applied();
    }
  }

  /** What is written behind what was refused is refused as well. */
  #failed(): void {
    this.#pending.clear();
    this.#expected = { ...this.#usage };
  }
}

const sumOf = ({ keys, blobs }: StoreUsage, grown: Partial<StoreUsage>): StoreUsage => ({
  keys: keys + (grown.keys ?? 0),
  blobs: blobs + (grown.blobs ?? 0),
});
