import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { ClassicLevel, Iterator as StoreIterator } from "classic-level";
import { EngineFault } from "../../engine.js";
import { away, DamageError, systemFault } from "./faults.js";
import { Groups } from "./groups.js";
import { loadStore } from "./store.js";
import { checkStore, type StoreTable, takeBack } from "./store-check.js";
import { checkTable } from "./store-table.js";

export interface TreeOptions {
  /** The bytes in memory from which on what was written last becomes a table. */
  memtableBytes: number;
  /** The bytes of tables that are kept open for reading. */
  cacheBytes: number;
  /** What the counter is to be above of at least. Default: 0. */
  counter?: bigint;
  /** Opens it although tables may be damaged. Default: false. */
  isUnchecked?: boolean;
}

/** One change of the tree: what `key` is from now on, or that it is no more. */
export type Op = { key: string; value: Buffer | undefined };

/** One call's writes: durable together, and then seen together. */
type Batch = { ops: Op[]; applied: () => void };

type Store = ClassicLevel<string, Buffer>;
type Snapshot = ReturnType<Store["snapshot"]>;

export type TreeEntry = { key: string; value: Buffer };

/** One step of a list: `after` is where the next one begins; undefined: this was the last. */
export type Page = { entries: TreeEntry[]; after: string | undefined };

/** What a tree was at one moment. */
export interface Moment {
  counter: bigint;
  all(prefix: string): AsyncIterable<TreeEntry>;
  release(): Promise<void>;
}

/** Where the tree keeps its counter. */
const COUNTER = "c";

const CHECKSUM_BYTES = 4;

/** How soon after a refusal it is looked whether the disk has room again. */
const AGAIN_MS = 500;

/** A table's size: what is read comes to be mapped memory, so smaller ones keep what is mapped to what is read. */
const TABLE_BYTES = 1024 ** 2;

/** What LevelDB keeps open besides tables, and the fewest files that it takes for a bound. */
const OTHER_FILES = 10;
const LEAST_FILES = 64 + OTHER_FILES;

const BLOCK_BYTES = 16 * 1024;

/** How many entries all() reads at a time, and the bytes that end a page early. */
const AT_ONCE = 256;
const PAGE_BYTES = 256 * 1024;

/** The bytes of tables that are read before the tree opens. What is more is read behind that. */
const READ_FIRST_BYTES = 32 * 1024 ** 2;

/**
 * Bytes by key, in the order of their UTF-8, in a LevelDB. What is seen is durable. A get takes its turn of the event
 * loop; pages and writes do not, and writes are grouped.
 */
export class Tree {
  readonly #db: Store;
  readonly #folder: string;
  readonly #memtableBytes: number;
  readonly #groups = new Groups<Batch>(
    (batches) => this.#write(batches),
    () => this.#pending.clear(),
  );
  /** What is written and not yet durable. */
  readonly #pending = new Map<string, Op>();
  #counter = 0n;
  #failed: unknown;
  /** The counter of the write that failed, and the time before which another is not worth a try. */
  #refused = 0n;
  #refusedUntilMs = 0;
  #damaged: DamageError | undefined;
  #closed = false;
  #reading: Promise<void> = Promise.resolve();

  private constructor(db: Store, folder: string, memtableBytes: number) {
    this.#db = db;
    this.#folder = folder;
    this.#memtableBytes = memtableBytes;
  }

  /** Opens the tree in `folder`, making it where there is none. Fails as damaged where anything acknowledged is missing. */
  static async open(folder: string, options: TreeOptions): Promise<Tree> {
    const { memtableBytes, cacheBytes, counter = 0n, isUnchecked = false } = options;
    const { ClassicLevel } = await loadStore();
    const tables = isUnchecked ? [] : await checkStore(folder);
    let bytes = 0;
    for (const { path, size } of tables) {
      if ((bytes += size) <= READ_FIRST_BYTES) await checkTable(path, size);
    }
    const db: Store = new ClassicLevel<string, Buffer>(folder, {
      valueEncoding: "buffer",
      compression: false,
      writeBufferSize: memtableBytes,
      blockSize: BLOCK_BYTES,
      maxFileSize: TABLE_BYTES,
      maxOpenFiles: Math.max(LEAST_FILES, OTHER_FILES + Math.ceil(cacheBytes / TABLE_BYTES)),
    });
    const tree = new Tree(db, folder, memtableBytes);
    await tree.#openStore();
    const saved = tree.get(COUNTER)?.readBigUInt64LE() ?? 0n;
    tree.#counter = saved > counter ? saved : counter;
    if (bytes > READ_FIRST_BYTES) tree.#reading = tree.#readTables(tables);
    return tree;
  }

  /** A number above all that were given out before, in earlier lives of the folder too, once a write behind it is durable. */
  nextVersion(): bigint {
    return ++this.#counter;
  }

  /** The durable value at `key`. */
  get(key: string): Buffer | undefined {
    this.#open();
    try {
      const bytes = this.#db.getSync(key);
      return bytes && this.#checked(key, bytes);
    } catch (error) {
      throw this.#fault(error);
    }
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
  async page(prefix: string, after: string | undefined, most: number, snapshot?: Snapshot): Promise<Page> {
    this.#open();
    const begin = Buffer.from(prefix);
    const behind = after === undefined ? undefined : Buffer.from(after);
    const end = Buffer.from(begin);
    // No byte of UTF-8 is the highest one.
    if (prefix !== "") end[end.length - 1] = (end.at(-1) as number) + 1;
    const iterator: StoreIterator<Store, Buffer, Buffer> = this.#db.iterator<Buffer, Buffer>({
      // An `after` in front of the prefix is in front of all that it names.
      ...(behind && behind.compare(begin) >= 0 ? { gt: behind } : { gte: begin }),
      ...(prefix !== "" && { lt: end }),
      keyEncoding: "buffer",
      valueEncoding: "buffer",
      highWaterMarkBytes: PAGE_BYTES,
      ...(snapshot && { snapshot }),
    });
    try {
      const found = await iterator.nextv(most);
      let bytes = 0;
      const entries = found.map(([keyBytes, value]) => {
        bytes += keyBytes.length + value.length;
        const key = keyBytes.toString();
        return { key, value: this.#checked(key, value) };
      });
      const isLast = entries.length < most && bytes <= PAGE_BYTES;
      return { entries, after: isLast ? undefined : entries.at(-1)?.key };
    } catch (error) {
      throw this.#fault(error);
    } finally {
      await iterator.close();
    }
  }

  /** Every entry under `prefix`, page by page; "": all of them. */
  async *all(prefix: string, snapshot?: Snapshot): AsyncGenerator<TreeEntry, void, undefined> {
    for (let past: string | undefined; ; ) {
      const page = await this.page(prefix, past, AT_ONCE, snapshot);
      yield* page.entries.filter(({ key }) => key !== COUNTER);
      if (page.after === undefined) return;
      past = page.after;
    }
  }

  /** What there is now, to be read while the tree goes on: for a backup. */
  moment(): Moment {
    this.#open();
    const snapshot = this.#db.snapshot();
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
    await this.#reading;
    // It writes what is in memory as a table, whatever the range: what is damaged there later is found for certain.
    if (!this.#failed) await this.#db.compactRange("", "").catch(() => {});
    await this.#closeStore();
  }

  async #openStore(): Promise<void> {
    try {
      await this.#db.open();
    } catch (error) {
      throw this.#fault((error as { cause?: unknown }).cause ?? error);
    }
  }

  async #closeStore(): Promise<void> {
    await this.#db.close();
    if (this.#failed) await takeBack(this.#folder, encodeCounter(this.#refused)).catch(() => {});
  }

  /** Opens the store anew behind a write that a full disk has refused, once there is room for its journals. */
  async #recover(): Promise<void> {
    const isFull = this.#failed instanceof EngineFault && this.#failed.reason === "full";
    if (!isFull || Date.now() < this.#refusedUntilMs) throw this.#failed;
    const probe = join(this.#folder, "probe");
    try {
      await writeFile(probe, Buffer.alloc(2 * this.#memtableBytes), { flush: true });
    } catch (error) {
      this.#refusedUntilMs = Date.now() + AGAIN_MS;
      throw this.#fault(error);
    } finally {
      await rm(probe, { force: true });
    }
    await this.#closeStore();
    await checkStore(this.#folder);
    await this.#openStore();
    this.#failed = undefined;
  }

  #open(): void {
    if (this.#damaged) throw this.#damaged;
    if (this.#closed) throw away();
  }

  async #write(batches: Batch[]): Promise<void> {
    if (this.#failed) await this.#recover();
    const ops = batches.flatMap(({ ops }) => ops);
    if (ops.length > 0) {
      // Each group counts as well: that tells its record in the journal from all others.
      const counter = ++this.#counter;
      ops.push({ key: COUNTER, value: encodeCounter(counter) });
      try {
        await this.#db.batch(ops.map(putOf), { sync: true });
      } catch (error) {
        // LevelDB would go on behind half a record, which hides what follows: only opening it anew tells what is there.
        this.#failed = this.#fault(error);
        this.#refused = counter;
        this.#refusedUntilMs = Date.now() + AGAIN_MS;
        throw this.#failed;
      }
    }
    for (const { ops, applied } of batches) {
      for (const op of ops) if (this.#pending.get(op.key) === op) this.#pending.delete(op.key);
      applied();
    }
  }

  /** Reads the tables that were there at the start, and serves nothing more where one is damaged. */
  async #readTables(tables: readonly StoreTable[]): Promise<void> {
    try {
      for (const { path, size } of tables) {
        if (this.#closed) return;
        await checkTable(path, size).catch((error: { code?: string }) => {
          // It has been merged into others meanwhile.
          if (error.code !== "ENOENT") throw error;
        });
      }
    } catch (error) {
      if (error instanceof DamageError) this.#damaged = error;
    }
  }

  /** The value in `bytes`. LevelDB gives out what it finds. */
  #checked(key: string, bytes: Buffer): Buffer {
    const value = bytes.subarray(CHECKSUM_BYTES);
    if (bytes.length < CHECKSUM_BYTES || bytes.readUInt32LE() !== crc32(value, crc32(key))) {
      throw new DamageError(this.#folder, `what it has at ${JSON.stringify(key)} is not what was written`);
    }
    return value;
  }

  #fault(error: unknown): unknown {
    const { code, message } = Object(error) as { code?: string; message?: string };
    if (code === "LEVEL_CORRUPTION") return new DamageError(this.#folder, String(message));
    if (code === "LEVEL_DATABASE_NOT_OPEN" || code === "LEVEL_ITERATOR_NOT_OPEN") return away();
    return systemFault(error) ?? error;
  }
}

function putOf({ key, value }: Op) {
  if (!value) return { type: "del" as const, key };
  const bytes = Buffer.allocUnsafe(CHECKSUM_BYTES + value.length);
  bytes.writeUInt32LE(crc32(value, crc32(key)));
  bytes.set(value, CHECKSUM_BYTES);
  return { type: "put" as const, key, value: bytes };
}

function encodeCounter(counter: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(counter);
  return bytes;
}
