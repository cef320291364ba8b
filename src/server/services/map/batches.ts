import type { Entry } from "../../../../gen/atomix/pb/map/map_pb.js";
import type { KeyStore } from "../../engine.js";
import type { Address } from "./address.js";
import { decodeEntry, entrySize, timestampOf } from "./entry.js";

/** The most entries and bytes of one request to a backup. */
const BATCH_ENTRIES = 256;
const BATCH_BYTES = 1024 ** 2;

/** The most entries and bytes that may wait for one backup. */
const BACKLOG_ENTRIES = 8192;
const BACKLOG_BYTES = 32 * 1024 ** 2;

/** Every entry of a partition with a timestamp above `since`, including tombstones. */
export async function* storedEntries(
  { keys, address }: { keys: KeyStore; address: Address },
  since: bigint,
): AsyncGenerator<Entry, void, undefined> {
  for await (const { value } of keys.list(address.entriesPrefix)) {
    const entry = decodeEntry(value);
    if (timestampOf(entry) > since) yield entry;
  }
}

/** Splits a stream of entries into batches that fit in one request each. */
export async function* splitBatches(entries: AsyncIterable<Entry>): AsyncGenerator<Entry[], void, undefined> {
  let batch = new Batch();
  for await (const entry of entries) {
    if (!batch.fits(entry)) {
      yield batch.entries;
      batch = new Batch();
    }
    batch.add(entry);
  }
  if (batch.entries.length > 0) yield batch.entries;
}

class Batch {
  readonly entries: Entry[] = [];
  #bytes = 0;

  fits(entry: Entry): boolean {
    const { length } = this.entries;
    return length === 0 || (length < BATCH_ENTRIES && this.#bytes + entrySize(entry) <= BATCH_BYTES);
  }

  add(entry: Entry): void {
    this.entries.push(entry);
    this.#bytes += entrySize(entry);
  }
}

/**
 * The changes that wait for one backup. If they exceed the bounds, all of them are dropped, and `dropping` is true. The
 * missed changes are then read from the engine, so that a slow backup needs bounded memory.
 */
export class Backlog {
  #waiting: Entry[] = [];
  #bytes = 0;
  #dropping = true;

  /** Whether changes were dropped since restart(), and are still dropped. */
  get dropping(): boolean {
    return this.#dropping;
  }

  /** Discards the waiting changes, and collects further ones. */
  restart(): void {
    this.stop();
    this.#dropping = false;
  }

  stop(): void {
    this.#waiting = [];
    this.#bytes = 0;
    this.#dropping = true;
  }

  push(entries: readonly Entry[]): void {
    if (this.#dropping) return;
    for (const entry of entries) {
      this.#waiting.push(entry);
      this.#bytes += entrySize(entry);
    }
    if (this.#waiting.length > BACKLOG_ENTRIES || this.#bytes > BACKLOG_BYTES) this.stop();
  }

  /** Takes the changes that fit in one request; none if none wait. */
  take(): Entry[] {
    const batch = new Batch();
    for (const entry of this.#waiting) {
      if (!batch.fits(entry)) break;
      batch.add(entry);
      this.#bytes -= entrySize(entry);
    }
    this.#waiting = this.#waiting.slice(batch.entries.length);
    return batch.entries;
  }
}
