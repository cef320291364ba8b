import { isPresent, type StoredEntry } from "./stored-entry.js";

/** The keys whose last known message is remembered. */
const MAX_KEYS = 10_000;

/** The parts of the last known message of a key that are remembered. */
export type KnownEntry = Pick<StoredEntry, "sequence" | "version" | "expiresAtMs" | "isDeleted">;

/**
 * The messages that this server read or wrote last, so that most conditional commits need no read. A version tells
 * neither its message's sequence nor its expiry. Both never change, and an outdated entry makes a commit read.
 */
export class KnownEntries {
  /** By subject. When the recent ones are many, they become the older ones, and those are forgotten. */
  #recent = new Map<string, KnownEntry>();
  #older = new Map<string, KnownEntry>();

  learn(subject: string, entry: KnownEntry): void {
    const known = this.find(subject);
    if (known && known.sequence > entry.sequence) return;
    const { sequence, version, expiresAtMs, isDeleted } = entry;
    this.#recent.set(subject, { sequence, version, expiresAtMs, isDeleted });
    if (this.#recent.size < MAX_KEYS / 2) return;
    this.#older = this.#recent;
    this.#recent = new Map();
  }

  forget(subject: string): void {
    this.#recent.delete(subject);
    this.#older.delete(subject);
  }

  /** The version of the key's last known message, 0n for none; undefined if none is known. */
  versionOf(subject: string, nowMs: number): bigint | undefined {
    const known = this.find(subject);
    return known && (isPresent(known, nowMs) ? known.version : 0n);
  }

  /**
   * The sequence that the key's last message has if the key has this version, or is absent for 0n. Undefined if that is
   * unlikely or not known.
   */
  sequenceOf(subject: string, version: bigint, nowMs: number): number | undefined {
    const known = this.find(subject);
    if (version === 0n && !known) return 0;
    const isThere = known !== undefined && isPresent(known, nowMs);
    const matches = version === 0n ? !isThere : isThere && known.version === version;
    return matches ? known?.sequence : undefined;
  }

  /** The key's last known message. */
  find(subject: string): KnownEntry | undefined {
    return this.#recent.get(subject) ?? this.#older.get(subject);
  }
}
