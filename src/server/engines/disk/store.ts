import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as later } from "node:timers/promises";
import { crc32 } from "node:zlib";
import type { ClassicLevel } from "classic-level";
import { EngineFault } from "../../engine.js";
import { away, DamageError, systemFault } from "./faults.js";
import { checkStore, type StoreTable, takeBack } from "./store-check.js";
import { loadStore } from "./store-package.js";
import { checkTable } from "./store-table.js";

export interface StoreOptions {
  /** The bytes in memory from which on what was written last becomes a table. */
  memtableBytes: number;
  /** The bytes of tables that are kept open for reading. */
  cacheBytes: number;
  /** Opens it although tables may be damaged. Default: false. */
  isUnchecked?: boolean;
}

/** One change: what `key` is from now on, or that it is no more. */
export type Op = { key: string; value: Buffer | undefined };

export type StoreEntry = { key: string; value: Buffer };

/** One step of a list: `after` is where the next one begins; undefined: this was the last. */
export type Page = { entries: StoreEntry[]; after: string | undefined };

type Db = ClassicLevel<string, Buffer>;
export type Snapshot = ReturnType<Db["snapshot"]>;

const CHECKSUM_BYTES = 4;

const SYNCED = { sync: true };

/** A table's size: what is read comes to be mapped memory, so smaller ones keep what is mapped to what is read. */
const TABLE_BYTES = 1024 ** 2;

/** What LevelDB keeps open besides tables, and the fewest files that it takes for a bound. */
const OTHER_FILES = 10;
const LEAST_FILES = 64 + OTHER_FILES;

const BLOCK_BYTES = 16 * 1024;

/** The bytes of entries that end a page early. */
const PAGE_BYTES = 256 * 1024;

/** The bytes of tables that are read before the store opens. What is more is read behind that. */
const READ_FIRST_BYTES = 32 * 1024 ** 2;

/** How long the reading behind that leaves the processor to others between two tables. */
const REST_MS = 20;

/** How soon after a refusal it is looked whether the disk has room again. */
const AGAIN_MS = 500;

/** A LevelDB of which nothing is passed over in silence: not what is damaged, not what was refused. */
export class Store {
  readonly #db: Db;
  readonly #folder: string;
  readonly #memtableBytes: number;
  #failed: unknown;
  /** What the batch that failed is known by, and the time before which another is not worth a try. */
  #refused: Buffer | undefined;
  #refusedUntilMs = 0;
  #damaged: DamageError | undefined;
  #isOver = false;
  #reading: Promise<void> = Promise.resolve();

  private constructor(db: Db, folder: string, memtableBytes: number) {
    this.#db = db;
    this.#folder = folder;
    this.#memtableBytes = memtableBytes;
  }

  /** Opens the store in `folder`, making it where there is none. Fails as damaged where anything that was synced is missing. */
  static async open(folder: string, options: StoreOptions): Promise<Store> {
    const { memtableBytes, cacheBytes, isUnchecked = false } = options;
    const { ClassicLevel } = await loadStore();
    const tables = isUnchecked ? [] : await checkStore(folder);
    let bytes = 0;
    for (const { path, size } of tables) {
      if ((bytes += size) <= READ_FIRST_BYTES) await checkTable(path, size);
    }
    const db: Db = new ClassicLevel<string, Buffer>(folder, {
      valueEncoding: "buffer",
      // What is not compressed is read where it is mapped.
      compression: false,
      writeBufferSize: memtableBytes,
      blockSize: BLOCK_BYTES,
      maxFileSize: TABLE_BYTES,
      maxOpenFiles: Math.max(LEAST_FILES, OTHER_FILES + Math.ceil(cacheBytes / TABLE_BYTES)),
    });
    const store = new Store(db, folder, memtableBytes);
    await store.#openDb();
    if (bytes > READ_FIRST_BYTES) store.#reading = store.#readTables(tables);
    return store;
  }

  get(key: string): Buffer | undefined {
    if (this.#damaged) throw this.#damaged;
    try {
      const bytes = this.#db.getSync(key);
      return bytes && this.#checked(key, bytes);
    } catch (error) {
      throw this.#fault(error);
    }
  }

  /** Entries under `prefix` behind the key `after`, at most `most`: as they are at this call, or were at the snapshot. */
  async page(prefix: string, after: string | undefined, most: number, snapshot?: Snapshot): Promise<Page> {
    if (this.#damaged) throw this.#damaged;
    // An `after` in front of the prefix is in front of all that it names.
    const isBehind = after !== undefined && Buffer.compare(Buffer.from(after), Buffer.from(prefix)) >= 0;
    const iterator = this.#db.iterator({
      ...(isBehind ? { gt: after } : { gte: prefix }),
      ...(prefix !== "" && { lt: endOf(prefix) }),
      highWaterMarkBytes: PAGE_BYTES,
      ...(snapshot && { snapshot }),
    });
    try {
      const found = await iterator.nextv(most);
      let bytes = 0;
      const entries = found.map(([key, value]) => {
        bytes += 3 * key.length + value.length;
        return { key, value: this.#checked(key, value) };
      });
      // No UTF-16 unit takes more than three bytes.
      const isLast = entries.length < most && bytes <= PAGE_BYTES;
      return { entries, after: isLast ? undefined : entries.at(-1)?.key };
    } catch (error) {
      throw this.#fault(error);
    } finally {
      await iterator.close();
    }
  }

  /** What there is now, for page(). It is to be closed. */
  snapshot(): Snapshot {
    return this.#db.snapshot();
  }

  /**
   * Writes all of `ops` or none, and resolves when they are durable. `mark` is something in them that no other batch
   * has. One at a time.
   */
  async write(ops: readonly Op[], mark: Buffer): Promise<void> {
    if (this.#damaged) throw this.#damaged;
    if (this.#failed) await this.#recover();
    try {
      // Its other form of a batch clones each operation first.
      const batch = this.#db.batch();
      for (const { key, value } of ops) {
        if (value) batch.put(key, sealed(key, value));
        else batch.del(key);
      }
      await batch.write(SYNCED);
    } catch (error) {
      // LevelDB would go on behind half a record, which hides what follows: only opening it anew tells what is there.
      this.#failed = this.#fault(error);
      this.#refused = mark;
      this.#refusedUntilMs = performance.now() + AGAIN_MS;
      throw this.#failed;
    }
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await this.#reading;
    // It writes what is in memory as a table, whatever the range: damage to that is found for certain.
    if (!this.#failed) await this.#db.compactRange("", "").catch(() => {});
    // A disk that refuses this as well leaves open whether the last write happened.
    await this.#closeDb().catch(() => {});
  }

  async #openDb(): Promise<void> {
    try {
      await this.#db.open();
    } catch (error) {
      throw this.#fault((error as { cause?: unknown }).cause ?? error);
    }
  }

  async #closeDb(): Promise<void> {
    await this.#db.close();
    if (this.#refused) await takeBack(this.#folder, this.#refused);
    this.#refused = undefined;
  }

  /** Opens the store anew behind a write that a full disk has refused, once there is room for its journals. */
  async #recover(): Promise<void> {
    const isFull = this.#failed instanceof EngineFault && this.#failed.reason === "full";
    if (!isFull || performance.now() < this.#refusedUntilMs) throw this.#failed;
    const probe = join(this.#folder, "probe");
    try {
      await writeFile(probe, Buffer.alloc(2 * this.#memtableBytes), { flush: true, mode: 0o600 });
    } catch (error) {
      this.#refusedUntilMs = performance.now() + AGAIN_MS;
      throw this.#fault(error);
    } finally {
      await rm(probe, { force: true });
    }
    await this.#closeDb();
    await checkStore(this.#folder);
    await this.#openDb();
    this.#failed = undefined;
  }

  /** Reads the tables that were there at the start, and serves nothing more where one is damaged. */
  async #readTables(tables: readonly StoreTable[]): Promise<void> {
    try {
      for (const { path, size } of tables) {
        if (this.#isOver) return;
        await later(REST_MS, undefined, { ref: false });
        await checkTable(path, size).catch((error: { code?: string }) => {
          // It has been merged into others meanwhile.
          if (error.code !== "ENOENT") throw error;
        });
      }
    } catch (error) {
      this.#damaged = error instanceof DamageError ? error : new DamageError(this.#folder, String(error));
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

/** The first text behind all that begin with `prefix`, which does so with a letter: by UTF-8, as by code points. */
function endOf(prefix: string): string {
  const points = [...prefix];
  const last = (points.pop() as string).codePointAt(0) as number;
  if (last === 0x10ffff) return endOf(points.join(""));
  // Surrogates are no code points of their own.
  return points.join("") + String.fromCodePoint(last >= 0xd7ff && last < 0xe000 ? 0xe000 : last + 1);
}

/** `value` behind its checksum. */
function sealed(key: string, value: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(CHECKSUM_BYTES + value.length);
  bytes.writeUInt32LE(crc32(value, crc32(key)));
  bytes.set(value, CHECKSUM_BYTES);
  return bytes;
}
