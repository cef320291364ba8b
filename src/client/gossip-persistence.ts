/**
 * Where gossip maps are kept between two runs of a program or two visits of a page: pass it as `persist` to
 * openGossipMap(). `indexedDbPersistence` of `fairlead/web` and `filePersistence` of `fairlead/node` are two; another
 * one, over OPFS or on React Native for instance, needs only these two interfaces. It never looks into the records.
 */
export interface GossipPersistence {
  /**
   * Names the storage if several tabs or workers of an origin can open it at the same time: those that open a map with
   * the same scope share one stream to the server, see `shareTabs`. Undefined: only one process can open it.
   */
  readonly scope: string | undefined;
  /**
   * Opens the store called `name`, and creates it if necessary. A name is any text of up to 2,100 bytes; names that
   * differ only in case are different stores. Rejects if it cannot be opened: the map then works in memory, and
   * `status.storageError` has the error.
   */
  open(name: string): Promise<GossipStore>;
}

/**
 * The records of one map: a list to which records are appended, and which is replaced by a shorter one from time to
 * time. The calls come one after the other, each when the previous one has settled. After a rejected append() or
 * replace(), another replace() follows, which has everything. So a store may fail, but must not pretend to have stored.
 */
export interface GossipStore {
  /** All records in the order of their append(), also those of other tabs that have the store open. */
  load(): Promise<LoadedRecords>;
  /** Stores one more record, of up to about 4 MiB. Resolves when a crash of this program does not lose it. */
  append(record: Uint8Array): Promise<void>;
  /**
   * Stores `records` and removes those that this object has loaded or appended, but none of another tab. Either all of
   * it happens or nothing. Reads `records` once, in order; an iteration step encodes about 48 KiB.
   */
  replace(records: Iterable<Uint8Array>): Promise<void>;
  /** Resolves when nothing is open any more, so that the store can be opened again. Idempotent. */
  close(): Promise<void>;
}

/** The content of a store. */
export interface LoadedRecords {
  /** The records that can be read, in their order. */
  readonly records: readonly Uint8Array[];
  /** What was lost, for instance because a file is damaged; it becomes `status.storageError`. Default: nothing. */
  readonly damage?: Error | undefined;
}
