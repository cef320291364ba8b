import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ClassicLevel } from "classic-level";
import type { Log } from "../../context.js";
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
  /** The bytes in memory from which on what was written last becomes a table. */
  memtableBytes: number;
  /** The bytes of tables that are kept open for reading. */
  cacheBytes: number;
  /** By what names are made durable. Default: Node's. */
  files?: Files;
  /** Where it tells of what takes long. */
  log?: Pick<Log, "info">;
}

/** One change: what `key` is from now on, or that it is no more. */
export type WriteOp = { key: string; value: Buffer | undefined };

/** One step of a list: `after` is where the next one begins; undefined: this was the last. */
export type StorePage = { entries: StoreEntry[]; after: string | undefined };

type Db = ClassicLevel<string, Buffer>;
export type StoreSnapshot = ReturnType<Db["snapshot"]>;

const SYNCED = { sync: true };

/** A table's size: what is read comes to be mapped memory, so smaller ones keep what is mapped to what is read. */
const TABLE_BYTES = 1024 ** 2;

/** What LevelDB keeps open besides tables, and the fewest files that it takes for a bound. */
const OTHER_FILES = 10;
const LEAST_FILES = 64 + OTHER_FILES;

const BLOCK_BYTES = 16 * 1024;

/** The bytes of entries that end a page early. */
const PAGE_BYTES = 256 * 1024;

/** From how many bytes of tables on it is told that they are read. */
const MANY_BYTES = 256 * 1024 ** 2;

/** How soon after a refusal it is looked whether the disk has room again. */
const AGAIN_MS = 500;

/** A LevelDB of which nothing is passed over in silence: not what is damaged, not what was refused. */
export class Store {
  readonly #db: Db;
  readonly #folder: string;
  readonly #memtableBytes: number;
  readonly #names: DirectorySync;
  #failed: unknown;
  /** What the batch that failed is known by, and the time before which another is not worth a try. */
  #refused: Buffer | undefined;
  #refusedUntilMs = 0;

  private constructor(db: Db, folder: string, memtableBytes: number, files: Files) {
    this.#db = db;
    this.#names = new DirectorySync(files, folder);
    this.#folder = folder;
    this.#memtableBytes = memtableBytes;
  }

  /** Opens the store in `folder`, making it where there is none. Fails as damaged where anything that was synced is missing. */
  static async open(folder: string, options: StoreOptions): Promise<Store> {
    const { memtableBytes, cacheBytes, files = nodeFiles, log } = options;
    const { ClassicLevel } = await loadStore();
    await checkTables(await checkStore(folder), log);
    const db: Db = new ClassicLevel<string, Buffer>(folder, {
      valueEncoding: "buffer",
      // What is not compressed is read where it is mapped.
      compression: false,
      writeBufferSize: memtableBytes,
      blockSize: BLOCK_BYTES,
      maxFileSize: TABLE_BYTES,
      maxOpenFiles: Math.max(LEAST_FILES, OTHER_FILES + Math.ceil(cacheBytes / TABLE_BYTES)),
    });
    const store = new Store(db, folder, memtableBytes, files);
    await store.#openDb();
    return store;
  }

  get(key: string): Buffer | undefined {
    try {
      const bytes = this.#db.getSync(key);
      return bytes && this.#checked(key, bytes);
    } catch (error) {
      throw this.#fault(error);
    }
  }

  /** Entries under `prefix` behind the key `after`, at most `most`: as they are at this call, or were at the snapshot. */
  async page(
    prefix: string,
    after: string | undefined,
    most: number,
    snapshot?: StoreSnapshot,
  ): Promise<StorePage> {
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
  snapshot(): StoreSnapshot {
    return this.#db.snapshot();
  }

  /**
   * Writes all of `ops` or none, and resolves when they are durable. `mark` is something in them that no other batch
   * has. One at a time.
   */
  async write(ops: readonly WriteOp[], mark: Buffer): Promise<void> {
    if (this.#failed) await this.#recover();
    try {
      // Its other form of a batch clones each operation first.
      const batch = this.#db.batch();
      for (const { key, value } of ops) {
        if (value) batch.put(key, withChecksum(key, value));
        else batch.del(key);
      }
      await batch.write(SYNCED);
      // What was written may be the first of a new journal.
      await this.#names.keep();
    } catch (error) {
      // LevelDB would go on behind half a record, which hides what follows: only opening it anew tells what is there.
      this.#failed = this.#fault(error);
      this.#refused = mark;
      this.#refusedUntilMs = performance.now() + AGAIN_MS;
      throw this.#failed;
    }
  }

  async close(): Promise<void> {
    // It writes what is in memory as a table, whatever the range: damage to that is found for certain.
    if (!this.#failed) await this.#db.compactRange("", "").catch(() => {});
    // A disk that refuses this as well leaves open whether the last write happened.
    await this.#closeDb().catch(() => {});
  }

  async #openDb(): Promise<void> {
    try {
      await this.#db.open();
      await this.#names.keepAll();
    } catch (error) {
      throw this.#fault((error as { cause?: unknown }).cause ?? error);
    }
  }

  async #closeDb(): Promise<void> {
    await this.#db.close();
    if (this.#refused) await dropLastRecord(this.#folder, this.#refused);
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

  /** The value in `bytes`. LevelDB gives out what it finds. */
  #checked(key: string, bytes: Buffer): Buffer {
    const value = verifiedValue(key, bytes);
    if (value) return value;
    throw new DamageError(this.#folder, `what it has at ${JSON.stringify(key)} is not what was written`);
  }

  #fault(error: unknown): unknown {
    const { code, message } = Object(error) as { code?: string; message?: string };
    if (code === "LEVEL_CORRUPTION") return new DamageError(this.#folder, String(message));
    if (code === "LEVEL_DATABASE_NOT_OPEN" || code === "LEVEL_ITERATOR_NOT_OPEN") return closedError("disk");
    return toEngineFault(error) ?? error;
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

/**
 * Reads every block of the tables. LevelDB ends the process at some that are damaged, and does not compare their
 * checksums, so that it is given none which was not read.
 */
async function checkTables(tables: readonly StoreTable[], log: Pick<Log, "info"> | undefined): Promise<void> {
  const bytes = tables.reduce((sum, { size }) => sum + size, 0);
  if (bytes > MANY_BYTES) log?.info({ bytes }, "all keys and values are read before the data folder opens");
  // The next one is read from the disk while this one's checksums are compared.
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
