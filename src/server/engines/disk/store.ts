import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ClassicLevel } from "classic-level";
import type { Logger } from "../../context.js";
import { EngineFault } from "../../engine.js";
import { closedError } from "../shared/errors.js";
import { DirectorySync } from "./directory-sync.js";
import { DamageError, toEngineFault } from "./errors.js";
import { type Files, nodeFiles } from "./files.js";
import { checkStore, dropLastRecord, type StoreTable } from "./store-check.js";
import { type StoreEntry, verifiedValue, withChecksum } from "./store-entry.js";
import { loadStore } from "./store-package.js";
import { StoreTableReader } from "./store-table.js";

export interface StoreOptions {
  /** The size of the memtable. When it is full, LevelDB writes it as a table. */
  memtableBytes: number;
  /** The bytes of tables that stay open for reading. */
  cacheBytes: number;
  /** Syncs folders. Default: Node's file system. */
  files?: Files;
  /** Logs operations that take long. */
  log?: Pick<Logger, "info">;
}

/** One write of a batch: the new value of `key`, or undefined to delete it. */
export type WriteOp = { key: string; value: Buffer | undefined };

/** One page of a list. `after` is the key for the next page; undefined: this is the last page. */
export type StorePage = { entries: StoreEntry[]; after: string | undefined };

type Db = ClassicLevel<string, Buffer>;
export type StoreSnapshot = ReturnType<Db["snapshot"]>;

const SYNCED = { sync: true };

/** The size of a table. Tables are mapped into memory as a whole when they are read, so smaller ones take less. */
const TABLE_BYTES = 1024 ** 2;

/** The files that LevelDB opens besides tables, and the least value that it accepts for its limit of open files. */
const OTHER_FILES = 10;
const MIN_OPEN_FILES = 64 + OTHER_FILES;

const BLOCK_BYTES = 16 * 1024;

/** A page ends early when its entries have this many bytes. */
const PAGE_BYTES = 256 * 1024;

/** Reading this many bytes of tables takes long enough to be logged. */
const LOG_ABOVE_BYTES = 256 * 1024 ** 2;

/** How long after a refused write the next write checks whether the disk has room. */
const RETRY_AFTER_MS = 500;

/** A LevelDB that reports every damage and every failed write, which LevelDB itself may ignore. */
export class Store {
  readonly #db: Db;
  readonly #folder: string;
  readonly #memtableBytes: number;
  readonly #directory: DirectorySync;
  #failed: unknown;
  /** The mark of the batch that failed, and the time before which no other write is tried. */
  #failedMark: Buffer | undefined;
  #retryAtMs = 0;

  private constructor(db: Db, folder: string, memtableBytes: number, files: Files) {
    this.#db = db;
    this.#directory = new DirectorySync(files, folder);
    this.#folder = folder;
    this.#memtableBytes = memtableBytes;
  }

  /** Opens the store in `folder`, or creates it. Throws a DamageError if anything that was synced is missing. */
  static async open(folder: string, options: StoreOptions): Promise<Store> {
    const { memtableBytes, cacheBytes, files = nodeFiles, log } = options;
    const { ClassicLevel } = await loadStore();
    await checkTables(await checkStore(folder), log);
    const db: Db = new ClassicLevel<string, Buffer>(folder, {
      valueEncoding: "buffer",
      // Uncompressed blocks are read from the mapped memory without a copy.
      compression: false,
      writeBufferSize: memtableBytes,
      blockSize: BLOCK_BYTES,
      maxFileSize: TABLE_BYTES,
      maxOpenFiles: Math.max(MIN_OPEN_FILES, OTHER_FILES + Math.ceil(cacheBytes / TABLE_BYTES)),
    });
    const store = new Store(db, folder, memtableBytes, files);
    await store.#openDb();
    return store;
  }

  get(key: string): Buffer | undefined {
    try {
      const bytes = this.#db.getSync(key);
      return bytes && this.#verify(key, bytes);
    } catch (error) {
      throw this.#fault(error);
    }
  }

  /** At most `most` entries under `prefix` after the key `after`: the current ones, or those of `snapshot`. */
  async page(
    prefix: string,
    after: string | undefined,
    most: number,
    snapshot?: StoreSnapshot,
  ): Promise<StorePage> {
    // An `after` that sorts before the prefix excludes nothing.
    const isWithin = after !== undefined && Buffer.compare(Buffer.from(after), Buffer.from(prefix)) >= 0;
    const iterator = this.#db.iterator({
      ...(isWithin ? { gt: after } : { gte: prefix }),
      ...(prefix !== "" && { lt: endOf(prefix) }),
      highWaterMarkBytes: PAGE_BYTES,
      ...(snapshot && { snapshot }),
    });
    try {
      const rows = await iterator.nextv(most);
      let bytes = 0;
      const entries = rows.map(([key, value]) => {
        bytes += 3 * key.length + value.length;
        return { key, value: this.#verify(key, value) };
      });
      // A UTF-16 unit takes at most three bytes in UTF-8, so LevelDB cannot have ended the page by its bytes.
      const isLast = entries.length < most && bytes <= PAGE_BYTES;
      return { entries, after: isLast ? undefined : entries.at(-1)?.key };
    } catch (error) {
      throw this.#fault(error);
    } finally {
      await iterator.close();
    }
  }

  /** A snapshot for page(). The caller closes it. */
  snapshot(): StoreSnapshot {
    return this.#db.snapshot();
  }

  /**
   * Writes all of `ops` or none, and resolves when they are durable. `mark` is a part of them that no other batch
   * contains. Only one call may run at a time.
   */
  async write(ops: readonly WriteOp[], mark: Buffer): Promise<void> {
    if (this.#failed) await this.#recover();
    try {
      // The array form of batch() would clone each operation.
      const batch = this.#db.batch();
      for (const { key, value } of ops) {
        if (value) batch.put(key, withChecksum(key, value));
        else batch.del(key);
      }
      await batch.write(SYNCED);
      // This write may be the first in a new journal.
      await this.#directory.syncNewJournals();
    } catch (error) {
      // LevelDB would append after a partial record, which hides all later ones: it must be opened again first.
      this.#failed = this.#fault(error);
      this.#failedMark = mark;
      this.#retryAtMs = performance.now() + RETRY_AFTER_MS;
      throw this.#failed;
    }
  }

  async close(): Promise<void> {
    // Writes the memtable as a table, whatever the range: all damage to a table is detected.
    if (!this.#failed) await this.#db.compactRange("", "").catch(() => {});
    // If the disk refuses this as well, it stays unknown whether the last write succeeded.
    await this.#closeDb().catch(() => {});
  }

  async #openDb(): Promise<void> {
    try {
      await this.#db.open();
      await this.#directory.syncAll();
    } catch (error) {
      throw this.#fault((error as { cause?: unknown }).cause ?? error);
    }
  }

  async #closeDb(): Promise<void> {
    await this.#db.close();
    if (this.#failedMark) await dropLastRecord(this.#folder, this.#failedMark);
    this.#failedMark = undefined;
  }

  /** Opens the store again after a full disk refused a write, when there is room for the journals. */
  async #recover(): Promise<void> {
    const isFull = this.#failed instanceof EngineFault && this.#failed.reason === "full";
    if (!isFull || performance.now() < this.#retryAtMs) throw this.#failed;
    const probe = join(this.#folder, "probe");
    try {
      await writeFile(probe, Buffer.alloc(2 * this.#memtableBytes), { flush: true, mode: 0o600 });
    } catch (error) {
      this.#retryAtMs = performance.now() + RETRY_AFTER_MS;
      throw this.#fault(error);
    } finally {
      await rm(probe, { force: true });
    }
    await this.#closeDb();
    await checkStore(this.#folder);
    await this.#openDb();
    this.#failed = undefined;
  }

  /** The value in `bytes`, if its checksum matches: LevelDB does not verify what it reads. */
  #verify(key: string, bytes: Buffer): Buffer {
    const value = verifiedValue(key, bytes);
    if (value) return value;
    throw new DamageError(this.#folder, `the checksum of ${JSON.stringify(key)} does not match`);
  }

  #fault(error: unknown): unknown {
    const { code, message } = Object(error) as { code?: string; message?: string };
    if (code === "LEVEL_CORRUPTION") return new DamageError(this.#folder, String(message));
    if (code === "LEVEL_DATABASE_NOT_OPEN" || code === "LEVEL_ITERATOR_NOT_OPEN") return closedError("disk");
    return toEngineFault(error) ?? error;
  }
}

/** The first string after all that begin with `prefix`, in the order of code points, which is that of UTF-8. */
function endOf(prefix: string): string {
  const points = [...prefix];
  const last = (points.pop() as string).codePointAt(0) as number;
  if (last === 0x10ffff) return endOf(points.join(""));
  // Skips the surrogates, which are not code points.
  return points.join("") + String.fromCodePoint(last >= 0xd7ff && last < 0xe000 ? 0xe000 : last + 1);
}

/**
 * Reads every block of the tables and verifies their checksums before LevelDB opens them. LevelDB verifies none, and
 * some damaged blocks end the process.
 */
async function checkTables(
  tables: readonly StoreTable[],
  log: Pick<Logger, "info"> | undefined,
): Promise<void> {
  const bytes = tables.reduce((sum, { size }) => sum + size, 0);
  if (bytes > LOG_ABOVE_BYTES)
    log?.info({ bytes }, "all keys and values are read before the data folder opens");
  // The next table is read from the disk while the checksums of this one are verified.
  const read = ({ path }: StoreTable) => {
    const reading = StoreTableReader.read(path);
    reading.catch(() => {});
    return reading;
  };
  let ahead = tables[0] && read(tables[0]);
  for (const [i, { size }] of tables.entries()) {
    const table = await ahead;
    const following = tables[i + 1];
    ahead = following && read(following);
    for await (const error of table?.damage(size) ?? []) throw error;
  }
}
