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
  /** The initial metadata of an empty tree. */
  metadata?: Metadata;
}

/** The writes of one call, which become durable and visible together. `growth`: by how much they change the usage. */
type Batch = { ops: WriteOp[]; applied: () => void; growth: Partial<StoreUsage> };

/** A consistent view of a tree at one moment. */
export interface TreeSnapshot {
  clocks: ClockSources;
  /** The metadata of the last write before the snapshot. */
  metadata(): Promise<Metadata>;
  all(prefix: string): AsyncGenerator<StoreEntry, void, undefined>;
  release(): Promise<void>;
}

/** How many entries all() reads in one page. */
const PAGE_ENTRIES = 256;

/**
 * Bytes by key, in the order of the keys' UTF-8. Reads see only durable writes. get() blocks the event loop while it
 * reads; pages and writes do not. Concurrent writes share a group commit.
 */
export class Tree {
  /** The engine's clock. */
  readonly clock: Clock;
  readonly #clocks: ClockSources;
  readonly #store: Store;
  readonly #commits = new GroupCommit<Batch>(
    (batches) => this.#write(batches),
    () => this.#discardPending(),
  );
  /** The writes that are not yet durable. */
  readonly #pending = new Map<string, WriteOp>();
  #counter: bigint;
  /** The usage by the durable writes, and the usage when the pending writes are durable. */
  #usage: StoreUsage;
  #expected: StoreUsage;
  /** Whether the usage is known: a folder of an older version may not have it. */
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

  /** Opens the tree in `folder`, or creates it. Throws a DamageError if anything acknowledged is missing. */
  static async open(folder: string, { metadata, clocks, ...options }: TreeOptions): Promise<Tree> {
    const store = await Store.open(folder, options);
    try {
      return new Tree(store, clocks, metadata ?? decodeMetadata(store.get(METADATA_KEY)));
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  /** The bytes that count for the bounds, including pending writes. */
  get usage(): Readonly<StoreUsage> {
    return this.#expected;
  }

  /** Sets and stores the usage, if it was not counted before. */
  async setUsage(usage: StoreUsage): Promise<void> {
    this.#usage = { ...usage };
    this.#expected = { ...usage };
    this.isCounted = true;
    await this.saveMetadata();
  }

  /** Stores the metadata with the current time. */
  async saveMetadata(): Promise<void> {
    // A group commit needs an operation: this one has no effect.
    await this.write([{ key: "counted", value: undefined }]);
  }

  /** A number above all earlier ones; above those of earlier processes too, if a later write became durable there. */
  nextVersion(): bigint {
    return ++this.#counter;
  }

  /** The durable value at `key`. */
  get(key: string): Buffer | undefined {
    this.#checkOpen();
    return this.#store.get(key);
  }

  /** The value at `key`, including pending writes: conditions are checked against it. */
  latest(key: string): Buffer | undefined {
    const op = this.#pending.get(key);
    return op ? op.value : this.get(key);
  }

  /** Whether a write of the key is pending. */
  isPending(key: string): boolean {
    return this.#pending.has(key);
  }

  /**
   * Writes all of `ops` or none. When they and all earlier writes are durable, calls `applied` and resolves. From then
   * on reads see them. `growth`: by how much they change the usage.
   */
  async write(
    ops: WriteOp[],
    applied: () => void = () => {},
    growth: Partial<StoreUsage> = {},
  ): Promise<void> {
    this.#checkOpen();
    this.#expected = sumOf(this.#expected, growth);
    for (const op of ops) this.#pending.set(op.key, op);
    const bytes = ops.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0);
    try {
      await this.#commits.add({ ops, applied, growth }, bytes);
    } catch (error) {
      throw toEngineFault(error) ?? error;
    }
  }

  /** At most `most` current entries under `prefix` after the key `after`. */
  async page(prefix: string, after: string | undefined, most: number): Promise<StorePage> {
    this.#checkOpen();
    return this.#store.page(prefix, after, most);
  }

  /** Every entry under `prefix`, page by page; "": every entry. */
  async *all(prefix: string, snapshot?: StoreSnapshot): AsyncGenerator<StoreEntry, void, undefined> {
    for (let past: string | undefined; ; ) {
      this.#checkOpen();
      const page = await this.#store.page(prefix, past, PAGE_ENTRIES, snapshot);
      yield* page.entries.filter(({ key }) => key !== METADATA_KEY);
      if (page.after === undefined) return;
      past = page.after;
    }
  }

  /** A consistent view of the current entries, for a backup. Later writes do not change it. */
  snapshot(): TreeSnapshot {
    this.#checkOpen();
    const snapshot = this.#store.snapshot();
    return {
      clocks: this.#clocks,
      metadata: async () => {
        const { entries } = await this.#store.page(METADATA_KEY, undefined, 1, snapshot);
        return decodeMetadata(entries.find(({ key }) => key === METADATA_KEY)?.value);
      },
      all: (prefix) => this.all(prefix, snapshot),
      release: () => snapshot.close(),
    };
  }

  /** Waits for pending writes, then closes the store. */
  async close(): Promise<void> {
    // Stores the time of closing. If the write fails, the time of the last write counts as that.
    if (!this.#closed) await this.saveMetadata().catch(() => {});
    this.#closed = true;
    await this.#commits.settled();
    await this.#store.close();
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError("disk");
  }

  async #write(batches: Batch[]): Promise<void> {
    const ops = batches.flatMap(({ ops }) => ops);
    if (ops.length > 0) {
      const usage = batches.reduce((sum, { growth }) => sumOf(sum, growth), this.#usage);
      // Each group commit gets a version of its own, so that its metadata is unique: Store.write() uses it as the mark.
      const metadata = encodeMetadata(++this.#counter, this.clock.save(), usage);
      await this.#store.write([...ops, { key: METADATA_KEY, value: metadata }], metadata);
      this.#usage = usage;
    }
    for (const { ops, applied } of batches) {
      for (const op of ops) if (this.#pending.get(op.key) === op) this.#pending.delete(op.key);
      applied();
    }
  }

  /** After a failed group commit, all pending writes fail as well. */
  #discardPending(): void {
    this.#pending.clear();
    this.#expected = { ...this.#usage };
  }
}

const sumOf = ({ keys, blobs }: StoreUsage, growth: Partial<StoreUsage>): StoreUsage => ({
  keys: keys + (growth.keys ?? 0),
  blobs: blobs + (growth.blobs ?? 0),
});
