import type { Logger } from "../../../context.js";
import type { Commit, KeyStore, Write } from "../../../engine.js";
import { addressAt } from "../address.js";
import type { Membership, SeenSession, Versioned } from "./membership.js";
import { encodePartition, encodeSession, type PartitionRecord, partitionKey, sessionKey } from "./records.js";

/** How long it is stored that a session has ended. */
const ENDED_TTL_MS = 3_600_000;

/** The conditional commits that change who leads a partition. Their outcome is noted in the view of the group at once. */
export class Grants {
  readonly #keys: KeyStore;
  readonly #group: string;
  readonly #membership: Membership;
  readonly #log: Logger;

  /** `keys`: those of the electing engine. */
  constructor(options: { keys: KeyStore; group: string; membership: Membership; log: Logger }) {
    this.#keys = options.keys;
    this.#group = options.group;
    this.#membership = options.membership;
    this.#log = options.log;
  }

  /** Sets the record on the condition of its version, and ends a session with it. Rejects if the engine is away. */
  commit(recordKey: string, version: bigint, record: PartitionRecord, former?: SeenSession): Promise<Commit> {
    const key = partitionKey(addressAt(recordKey));
    const value = encodePartition(record);
    return this.#commit([
      { type: "set", key, value, ifVersion: version },
      ...(former ? this.#endOf(former) : []),
    ]);
  }

  /** Does what commit() does, and returns whether the record is set. If the engine is away, this is only logged. */
  async tryCommit(
    recordKey: string,
    known: Versioned<PartitionRecord>,
    record: PartitionRecord,
    former?: SeenSession,
  ): Promise<boolean> {
    try {
      return "version" in (await this.commit(recordKey, known.version, record, former));
    } catch (error) {
      this.#log.debug({ group: this.#group, err: error }, "the electing engine is away");
      return false;
    }
  }

  /** Ends a session, unless its holder renews it at the same time. */
  async endSession(session: SeenSession): Promise<void> {
    const writes = this.#endOf(session);
    if (writes.length > 0) await this.#commit(writes).catch(() => {});
  }

  /** The write that ends a session, on the condition that its holder has not renewed it; none if it has ended. */
  #endOf({ id, record, version }: SeenSession): SetWrite[] {
    if (record.state === "ended") return [];
    const value = encodeSession({ ...record, state: "ended" });
    const key = sessionKey(this.#group, id);
    return [{ type: "set", key, value, ifVersion: version, ttlMs: ENDED_TTL_MS }];
  }

  async #commit(writes: readonly SetWrite[]): Promise<Commit> {
    const commit = await this.#keys.commit(writes);
    if ("version" in commit) {
      for (const { key, value } of writes) this.#membership.note({ key, value, version: commit.version });
    } else if (commit.actual) {
      this.#membership.note(commit.actual);
    } else {
      this.#membership.noteMissing(commit.conflict.key);
    }
    return commit;
  }
}

type SetWrite = Write & { type: "set" };
