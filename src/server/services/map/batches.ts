import type { Entry } from "../../../../gen/atomix/pb/map/map_pb.js";
import { entrySize } from "./entry.js";

/** How much goes to a backup in one request. */
const BATCH_ENTRIES = 256;
const BATCH_BYTES = 1024 ** 2;

/** How much may wait for one backup, and the bytes of it. */
const MOST_ENTRIES = 8192;
const MOST_BYTES = 32 * 1024 ** 2;

/** Cuts a stream of entries into what fits in one request each. */
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
 * The changes that wait for one backup. Past its bounds it drops them all and says so: what was missed is then read
 * from the engine, which has every entry, so a backup that lags behind costs no more memory than this.
 */
export class Backlog {
  #waiting: Entry[] = [];
  #bytes = 0;
  #dropping = true;

  /** Whether changes were dropped since restart(), and go on being dropped. */
  get dropping(): boolean {
    return this.#dropping;
  }

  /** Forgets what waits, and collects from now on. */
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
    if (this.#waiting.length > MOST_ENTRIES || this.#bytes > MOST_BYTES) this.stop();
  }

  /** Takes what fits in one request; nothing where nothing waits. */
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
