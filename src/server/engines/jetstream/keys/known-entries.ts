import { isLive, type StoredEntry } from "./stored-entry.js";

/** The keys whose last known message is remembered. */
const MAX_KEYS = 10_000;

/** What is remembered of the last known message of a key. */
type KnownEntry = Pick<StoredEntry, "sequence" | "version" | "expiresAtMs" | "isDeleted">;

/**
 * The messages that this server read or wrote last, so that most conditional commits need no read. A version tells
 * neither its message's sequence nor its expiry. Both never change, and an outdated entry makes a commit read.
 */
export class KnownEntries {
  /** By subject. The one that was not used for longest is first. */
  readonly #entries = new Map<string, KnownEntry>();

  learn(subject: string, entry: KnownEntry): void {
    const known = this.#entries.get(subject);
    if (known) {
      if (known.sequence > entry.sequence) return;
      this.#entries.delete(subject);
    }
    const { sequence, version, expiresAtMs, isDeleted } = entry;
    this.#entries.set(subject, { sequence, version, expiresAtMs, isDeleted });
    if (this.#entries.size <= MAX_KEYS) return;
    const [oldest = ""] = this.#entries.keys();
    this.#entries.delete(oldest);
  }

  forget(subject: string): void {
    this.#entries.delete(subject);
  }

  /** The version of the key's last known message, 0n for none; undefined if none is known. */
  versionOf(subject: string, nowMs: number): bigint | undefined {
    const known = this.#entries.get(subject);
    return known && (isLive(known, nowMs) ? known.version : 0n);
  }

  /**
   * The sequence that the key's last message has if the key has this version, or is absent for 0n. Undefined if that is
   * unlikely or not known.
   */
  sequenceOf(subject: string, version: bigint, nowMs: number): number | undefined {
    const known = this.#entries.get(subject);
    if (version === 0n && !known) return 0;
    const isPresent = known !== undefined && isLive(known, nowMs);
    const matches = version === 0n ? !isPresent : isPresent && known.version === version;
    return matches ? known?.sequence : undefined;
  }
}
