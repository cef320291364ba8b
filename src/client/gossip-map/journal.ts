import type { MapValue } from "../../../gen/atomix/map/map_pb.js";
import { compareBytes } from "../../gossip/clock.js";
import { lifetimeOf } from "../../gossip/lifetime.js";
import { type Replica, type Stored, sizeOf } from "../../gossip/replica.js";
import { compareValues } from "../../gossip/version.js";
import { type Backoff, jitteredMs } from "../../lib/backoff.js";
import type { GossipPersistence, GossipStore } from "../gossip-persistence.js";
import {
  decodeJournalRecord,
  encodeJournalRecord,
  type JournalLine,
  LaterVersionError,
} from "./journal-record.js";
import type { UnsentWrites } from "./unsent-writes.js";

export interface JournalOptions {
  persistence: GossipPersistence;
  /** The name of the store. */
  name: string;
  replica: Replica;
  unsent: UnsentWrites;
  /** Called with each entry of the store that was newer than the replica's. */
  onLoaded: (stored: Stored) => void;
  /** Called when storing fails, and with undefined when everything is stored again. */
  onError: (error: unknown) => void;
}

/** How long a change waits for further ones, so that one record has them all. */
const WRITE_BEHIND_MS = 5;

/** The size of a record: one with more is slow to read in some browsers, and many small ones are in all. */
const RECORD_BYTES = 48 * 1024;

/** The overhead of a record, and of an entry without its key and value, in bytes. */
const RECORD_COST = 1024;
const ENTRY_COST = 40;

/** How much more than the entries the records may cost, plus as much as the entries. */
const MOST_WASTE = 256 * 1024;

/** How long opening may take. */
const OPENING_MS = 10_000;

const RETRY: Backoff = { minMs: 1000, maxMs: 30_000 };

/** How a key has changed since the last record: its entry, or only that the server has confirmed it. */
type Dirt = "set" | "sent";

/**
 * Writes the entries of a replica to a store, a few milliseconds after they have changed. The store is a list of
 * records, each with some entries; the newest one of a key counts. When much of it is outdated, it is replaced by the
 * entries of the replica. A failed write is reported, and all entries are written again later.
 */
export class Journal {
  readonly #options: JournalOptions;
  #store: GossipStore | undefined;
  #isWriting = false;
  readonly #dirty = new Map<string, Dirt>();
  /** The cost of all records. */
  #cost = 0;
  #mustReplace = false;
  #failures = 0;
  #error: unknown;
  #stopTimer: (() => void) | undefined;
  #writes: Promise<void> | undefined;

  constructor(options: JournalOptions) {
    this.#options = options;
  }

  /** Opens the store and loads its entries into the replica. Reports a failure, but does not reject. */
  async open(): Promise<void> {
    try {
      this.#store = await this.#opened();
      await this.#load(this.#store);
    } catch (error) {
      await this.#abandon(error);
    }
  }

  /** Begins to write: first what the store does not have. `reload`: another tab may have written to it. */
  async start({ reload = false } = {}): Promise<void> {
    if (!this.#store || this.#isWriting) return;
    try {
      if (reload) await this.#load(this.#store);
      this.#isWriting = true;
      this.#schedule(0);
    } catch (error) {
      await this.#abandon(error);
    }
  }

  /** To be called when the entry at `key` was stored in the replica. */
  changed(key: string): void {
    if (!this.#store) return;
    this.#dirty.set(key, "set");
    this.#schedule(WRITE_BEHIND_MS);
  }

  /** To be called when `count` entries were replaced by older ones, or dropped: no record of them may count any more. */
  replace(count: number): void {
    if (!this.#store || count === 0) return;
    this.#mustReplace = true;
    this.#schedule(0);
  }

  /** To be called when the server has confirmed the entry at `key`. */
  sent(key: string): void {
    if (!this.#store || this.#dirty.has(key)) return;
    this.#dirty.set(key, "sent");
    this.#schedule(WRITE_BEHIND_MS);
  }

  /** Resolves when everything until now was written, or could not be. */
  async flush(): Promise<void> {
    this.#cancelTimer();
    await this.#write();
  }

  /** Stores some entries without start(), when this tab may be gone soon and another one does not have them yet. */
  async rescue(keys: Iterable<string>): Promise<void> {
    const lines = [...keys].map((key) => this.#lineOf(key, "set")).filter((line) => line !== undefined);
    if (lines.length > 0)
      await this.#store?.append(encodeJournalRecord(lines)).catch((error) => this.#report(error));
  }

  /** Stops writing after what is pending. */
  async stop(): Promise<void> {
    await this.flush();
    this.#isWriting = false;
    this.#cancelTimer();
  }

  /** Writes what is pending, and closes the store. Idempotent. */
  async close(): Promise<void> {
    await this.stop();
    const store = this.#store;
    this.#store = undefined;
    await store?.close().catch((error: unknown) => this.#options.onError(error));
  }

  /** The store. Fails if opening takes too long: some browsers never answer when a database is damaged. */
  #opened(): Promise<GossipStore> {
    const { persistence, name, replica } = this.#options;
    return new Promise((resolve, reject) => {
      const stopTimer = replica.environment.after(OPENING_MS, () =>
        reject(new Error(`the storage of the map was not opened within ${OPENING_MS} ms`)),
      );
      persistence.open(name).then(resolve, reject).finally(stopTimer);
    });
  }

  async #load(store: GossipStore): Promise<void> {
    const { records, damage } = await store.load();
    let failure: unknown = damage;
    this.#cost = 0;
    for (const record of records) {
      this.#cost += record.length + RECORD_COST;
      try {
        for (const line of decodeJournalRecord(record)) this.#apply(line);
      } catch (error) {
        if (error instanceof LaterVersionError) throw error;
        failure ??= error;
      }
    }
    this.#forgetOld();
    if (failure === undefined) return;
    this.#report(failure);
    this.#mustReplace = true;
  }

  #apply(line: JournalLine): void {
    const { replica, unsent, onLoaded } = this.#options;
    const { key } = line;
    const present = replica.get(key);
    if (line.type === "sent") {
      if (present && compareBytes(present.digest?.timestamp ?? NONE, line.timestamp) === 0)
        unsent.delete(key);
      return;
    }
    const order = present ? compareValues(line.value, present) : 1;
    if (order < 0) return;
    const stored = order > 0 ? replica.restore(key, line.value) : undefined;
    // The store has this entry, so it needs no further record.
    this.#dirty.delete(key);
    if (line.isSent) unsent.delete(key);
    else if (stored) unsent.add(key);
    if (stored) onLoaded(stored);
  }

  /** Forgets the tombstones that were kept for long enough before the program ended. */
  #forgetOld(): void {
    const { replica, unsent } = this.#options;
    if (replica.tombstones === 0) return;
    const isOld = (key: string) => {
      const digest = replica.get(key)?.digest;
      return digest !== undefined && !unsent.has(key) && replica.isOutdated(digest);
    };
    replica.forget(replica.keys().filter(isOld));
  }

  #schedule(delayMs: number): void {
    if (!this.#isWriting || this.#writes || this.#stopTimer) return;
    const { environment } = this.#options.replica;
    this.#stopTimer = environment.after(this.#failures > 0 ? this.#retryMs() : delayMs, () => {
      this.#stopTimer = undefined;
      void this.#write();
    });
  }

  #retryMs(): number {
    return jitteredMs(RETRY, this.#failures, () => this.#options.replica.environment.random());
  }

  #cancelTimer(): void {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
  }

  /** Writes everything that is pending; a call during a write joins it. */
  #write(): Promise<void> {
    if (!this.#isWriting || !this.#store) return Promise.resolve();
    this.#writes ??= this.#writeAll(this.#store).finally(() => {
      this.#writes = undefined;
      if (this.#dirty.size > 0 || this.#mustReplace) this.#schedule(WRITE_BEHIND_MS);
    });
    return this.#writes;
  }

  async #writeAll(store: GossipStore): Promise<void> {
    try {
      while (this.#dirty.size > 0 || this.#mustReplace) {
        if (this.#mustReplace || this.#isWasteful()) await this.#replace(store);
        else await this.#append(store);
      }
      this.#failures = 0;
      this.#report(undefined);
    } catch (error) {
      // It is unknown whether the pending changes were stored, so everything is written again.
      this.#mustReplace = true;
      this.#failures++;
      this.#report(error);
    }
  }

  async #append(store: GossipStore): Promise<void> {
    const lines: JournalLine[] = [];
    let bytes = 0;
    for (const [key, dirt] of this.#dirty) {
      if (bytes >= RECORD_BYTES) break;
      this.#dirty.delete(key);
      const line = this.#lineOf(key, dirt);
      if (line) lines.push(line);
      bytes += this.#costOf(key);
    }
    if (lines.length === 0) return;
    const record = encodeJournalRecord(lines);
    this.#cost += record.length + RECORD_COST;
    await store.append(record);
  }

  async #replace(store: GossipStore): Promise<void> {
    this.#dirty.clear();
    let cost = 0;
    const snapshot = this.#snapshot();
    await store.replace(
      (function* () {
        for (const record of snapshot) {
          cost += record.length + RECORD_COST;
          yield record;
        }
      })(),
    );
    this.#cost = cost;
    this.#mustReplace = false;
  }

  *#snapshot(): Generator<Uint8Array, void, undefined> {
    let lines: JournalLine[] = [];
    let bytes = 0;
    for (const key of this.#options.replica.keys()) {
      const line = this.#lineOf(key, "set");
      if (!line) continue;
      lines.push(line);
      bytes += this.#costOf(key);
      if (bytes < RECORD_BYTES) continue;
      yield encodeJournalRecord(lines);
      lines = [];
      bytes = 0;
    }
    if (lines.length > 0) yield encodeJournalRecord(lines);
  }

  /** Undefined if there is nothing to store: the tombstone was forgotten meanwhile. */
  #lineOf(key: string, dirt: Dirt): JournalLine | undefined {
    const { replica, unsent } = this.#options;
    const value = replica.get(key);
    // An ephemeral entry ends with this visit.
    if (!value || isEphemeral(value)) return undefined;
    if (dirt === "sent") return { type: "sent", key, timestamp: value.digest?.timestamp ?? NONE };
    return { type: "set", key, value, isSent: !unsent.has(key) };
  }

  #costOf(key: string): number {
    return sizeOf(key, this.#options.replica.get(key)) + ENTRY_COST;
  }

  /** Whether more than half of the records is outdated, so that replacing them costs less than they did. */
  #isWasteful(): boolean {
    const { bytes, size } = this.#options.replica;
    return this.#cost > 2 * (bytes + size * ENTRY_COST) + MOST_WASTE;
  }

  async #abandon(error: unknown): Promise<void> {
    this.#report(error);
    const store = this.#store;
    this.#store = undefined;
    this.#dirty.clear();
    await store?.close().catch(() => {});
  }

  #report(error: unknown): void {
    if (error === this.#error) return;
    this.#error = error;
    this.#options.onError(error);
  }
}

/** Whether the entry belongs to a member that will not be there at the next visit. */
function isEphemeral({ digest }: MapValue): boolean {
  const lifetime = digest && lifetimeOf(digest.timestamp);
  return typeof lifetime === "object" && lifetime.isEphemeral;
}

const NONE = new Uint8Array();
