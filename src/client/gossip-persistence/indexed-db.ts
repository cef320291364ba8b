import { randomId } from "../../lib/random-id.js";
import type { GossipPersistence, GossipStore, LoadedRecords } from "../gossip-persistence.js";

/** How indexedDbPersistence() stores. */
export interface IndexedDbOptions {
  /**
   * When a write counts as stored: "relaxed" when the operating system has it, "strict" when it is on the disk, which
   * survives a power failure but is slower. Default: "relaxed".
   */
  durability?: "relaxed" | "strict";
}

/** The version of the database's schema. The records in it have a version of their own. */
const SCHEMA_VERSION = 1;

const STORE = "records";

/**
 * Keeps gossip maps in the IndexedDB database called `databaseName`, for pages and workers. One database may have any
 * number of maps. All tabs of the origin may open it; they share one stream to the server for each map.
 *
 * @example
 * ```ts browser
 * import { createClient } from "fairlead";
 * import { indexedDbPersistence } from "fairlead/web";
 *
 * const fl = createClient("https://fairlead.example");
 * const map = await fl.openGossipMap("todo", { persist: indexedDbPersistence("my-app") });
 * ```
 */
export function indexedDbPersistence(
  databaseName: string,
  { durability = "relaxed" }: IndexedDbOptions = {},
): GossipPersistence {
  return {
    scope: `indexeddb:${databaseName}`,
    open: async (name) => {
      const store = new IndexedDbStore(databaseName, name, durability);
      await store.open();
      return store;
    },
  };
}

/** A record's key: the map, when its writer was opened, the writer, and the number of the record. */
type RecordKey = [map: string, openedMs: number, writer: string, sequence: number];

/**
 * The records of one map. Each tab writes under keys of its own and deletes only what it knows, so that even two tabs
 * that write at the same time lose nothing.
 */
class IndexedDbStore implements GossipStore {
  readonly #database: string;
  readonly #map: string;
  readonly #durability: "relaxed" | "strict";
  readonly #openedMs = Date.now();
  readonly #writer = randomId();
  #sequence = 0;
  /** The keys of the records that were loaded or appended. */
  #known: RecordKey[] = [];
  #db: IDBDatabase | undefined;

  constructor(database: string, map: string, durability: "relaxed" | "strict") {
    this.#database = database;
    this.#map = map;
    this.#durability = durability;
  }

  async open(): Promise<IDBDatabase> {
    const request = indexedDB.open(this.#database, SCHEMA_VERSION);
    request.onupgradeneeded = () => void request.result.createObjectStore(STORE);
    const db = await new Promise<IDBDatabase>((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
      request.onblocked = () => reject(new Error("another tab has an older version of the database open"));
    });
    // The browser closes it if the user deletes the site's data; a later version of the app may need to upgrade it.
    const forget = () => {
      if (this.#db === db) this.#db = undefined;
    };
    db.onclose = forget;
    db.onversionchange = () => {
      db.close();
      forget();
    };
    this.#db = db;
    return db;
  }

  async load(): Promise<LoadedRecords> {
    const db = this.#db ?? (await this.open());
    const range = IDBKeyRange.bound([this.#map], [this.#map, []]);
    const transaction = db.transaction(STORE);
    const records = transaction.objectStore(STORE);
    const [keys, values] = [records.getAllKeys(range), records.getAll(range)];
    await completion(transaction);
    this.#known = keys.result as RecordKey[];
    return { records: values.result as Uint8Array[] };
  }

  async append(record: Uint8Array): Promise<void> {
    // No step before the transaction: a page that is about to go runs no further one.
    const db = this.#db ?? (await this.open());
    const key = this.#nextKey();
    const transaction = this.#write(db);
    transaction.objectStore(STORE).add(record, key);
    transaction.commit();
    await completion(transaction);
    this.#known.push(key);
  }

  async replace(records: Iterable<Uint8Array>): Promise<void> {
    const db = this.#db ?? (await this.open());
    const transaction = this.#write(db);
    const store = transaction.objectStore(STORE);
    for (const key of this.#known) store.delete(key);
    const known: RecordKey[] = [];
    try {
      for (const record of records) {
        const key = this.#nextKey();
        store.add(record, key);
        known.push(key);
      }
    } catch (error) {
      transaction.abort();
      throw error;
    }
    transaction.commit();
    await completion(transaction);
    this.#known = known;
  }

  async close(): Promise<void> {
    this.#db?.close();
    this.#db = undefined;
  }

  #write(db: IDBDatabase): IDBTransaction {
    return db.transaction(STORE, "readwrite", { durability: this.#durability });
  }

  #nextKey(): RecordKey {
    return [this.#map, this.#openedMs, this.#writer, this.#sequence++];
  }
}

/** Resolves when `transaction` is stored, and rejects if it is not, for instance with a QuotaExceededError. */
function completion(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("the transaction was aborted"));
  });
}
