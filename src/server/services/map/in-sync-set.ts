import type { Environment } from "../../../gossip/environment.js";
import { type Backoff, jitteredMs } from "../../../lib/backoff.js";
import type { Entry, KeyStore } from "../../engine.js";
import type { SeenSession, Versioned } from "./election/membership.js";
import { decodePartition, encodePartition, type PartitionRecord } from "./election/records.js";

export interface InSyncSetOptions {
  /** The electing engine's keys. */
  keys: KeyStore;
  /** The key of the partition's record there. */
  key: string;
  /** The record with which this server became the leader. */
  granted: Versioned<PartitionRecord>;
  environment: Environment;
  /** Called after each commit with the entry as it is now. */
  onWritten: (entry: Entry) => void;
}

/** The record that is wanted instead of the present one; undefined: the change is impossible. */
type NextRecord = (record: PartitionRecord) => PartitionRecord | undefined;

const COMMIT_BACKOFF: Backoff = { minMs: 20, maxMs: 1000 };

/**
 * The in-sync set of a partition, as its leader changes it: one commit at a time, each on the condition that nothing
 * else has changed the record, so that a deposed leader changes nothing.
 */
export class InSyncSet {
  readonly #options: InSyncSetOptions;
  #present: Versioned<PartitionRecord>;
  #changing: Promise<unknown> = Promise.resolve();
  #isOver = false;

  constructor(options: InSyncSetOptions) {
    this.#options = options;
    this.#present = options.granted;
  }

  get present(): Versioned<PartitionRecord> {
    return this.#present;
  }

  has(copy: string): boolean {
    return this.#present.record.inSync.includes(copy);
  }

  /** Resolves with true when the copy is in the set; false: this server is not the leader any more. */
  add(copy: string): Promise<boolean> {
    return this.#change((record) =>
      record.inSync.includes(copy) ? record : { ...record, inSync: [...record.inSync, copy] },
    );
  }

  /** Resolves with true when the copy is not in the set; false: this server is not the leader any more. */
  remove(copy: string): Promise<boolean> {
    return this.#change((record) =>
      record.inSync.includes(copy)
        ? { ...record, inSync: record.inSync.filter((each) => each !== copy) }
        : record,
    );
  }

  /** Grants the lead to `target`. Resolves with false if its copy is not in the set, or this server is not the leader. */
  handOver({ id: leader, record: { copy, url, leaseMs } }: SeenSession): Promise<boolean> {
    return this.#change((record) => {
      if (record.leader === leader) return record;
      if (!record.inSync.includes(copy)) return undefined;
      return { ...record, leader, url, leaseMs, term: record.term + 1n };
    });
  }

  /** No further change is tried. */
  end(): void {
    this.#isOver = true;
  }

  #change(next: NextRecord): Promise<boolean> {
    const changed = this.#changing.then(() => this.#commit(next));
    this.#changing = changed.catch(() => {});
    return changed;
  }

  /** Commits `next` until the outcome is known. A commit that failed may have succeeded: the next one finds out. */
  async #commit(next: NextRecord): Promise<boolean> {
    const { keys, key, granted, environment, onWritten } = this.#options;
    for (let failures = 1; !this.#isOver; ) {
      const { record, version } = this.#present;
      const changed = next(record);
      if (!changed) return false;
      if (changed === record) return true;
      const value = encodePartition(changed);
      try {
        const commit = await keys.commit([{ type: "set", key, value, ifVersion: version }]);
        if ("version" in commit) {
          this.#present = { record: changed, version: commit.version };
          onWritten({ key, value, version: commit.version });
          return true;
        }
        const { actual } = commit;
        const found = actual && decodePartition(actual.value);
        if (!actual || !found) return false;
        onWritten(actual);
        const isOwn = found.leader === granted.record.leader && found.term === granted.record.term;
        // After a hand-over of unknown outcome the record may be what was to be written.
        if (!isOwn && !isSame(found, changed)) return false;
        this.#present = { record: found, version: actual.version };
      } catch {
        const waitMs = jitteredMs(COMMIT_BACKOFF, failures++, environment.random);
        await new Promise<void>((resolve) => {
          environment.after(waitMs, resolve);
        });
      }
    }
    return false;
  }
}

const isSame = (a: PartitionRecord, b: PartitionRecord): boolean =>
  a.leader === b.leader && a.term === b.term;
