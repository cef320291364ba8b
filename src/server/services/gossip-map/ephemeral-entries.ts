import type { Environment } from "../../../gossip/environment.js";
import { isEphemeralTime } from "../../../gossip/lifetime.js";
import type { Stored } from "../../../gossip/replica.js";

export interface EphemeralEntriesOptions {
  environment: Environment;
  /** How long a member may be away before its entries are removed, in milliseconds. */
  graceMs: number;
  /** Called with the keys of the entries of a member that has left. */
  onLost: (keys: readonly string[]) => void;
}

/**
 * The ephemeral entries that members have sent to this server, by the member that sent each. When the last stream of a
 * member has ended, and it does not come back in time, its entries are lost. One that has sent a newer entry to another
 * server is there, so that entry is not lost.
 */
export class EphemeralEntries {
  readonly #options: EphemeralEntriesOptions;
  readonly #senders = new Map<string, string>();
  readonly #keys = new Map<string, Set<string>>();
  /** The number of streams of each member. */
  readonly #streams = new Map<string, number>();
  /** The functions that stop the timers of members that are away. */
  readonly #away = new Map<string, () => void>();

  constructor(options: EphemeralEntriesOptions) {
    this.#options = options;
  }

  /** To be called when a stream of the member `source` has joined. */
  joined(source: string): void {
    this.#streams.set(source, (this.#streams.get(source) ?? 0) + 1);
    this.#away.get(source)?.();
    this.#away.delete(source);
  }

  /** To be called when a stream of the member `source` has ended. */
  left(source: string): void {
    const streams = (this.#streams.get(source) ?? 1) - 1;
    if (streams > 0) this.#streams.set(source, streams);
    else this.#streams.delete(source);
    if (streams === 0 && this.#keys.has(source)) this.#awaitReturn(source);
  }

  /** To be called with each stored entry. `source`: the member here that sent it; undefined for another server. */
  stored({ key, live }: Stored, source: string | undefined): void {
    this.#forget(key);
    if (source === undefined || !live?.digest || !isEphemeralTime(live.digest.timestamp)) return;
    this.#senders.set(key, source);
    const keys = this.#keys.get(source);
    if (keys) keys.add(key);
    else this.#keys.set(source, new Set([key]));
    // Its stream may have ended while the entry was being stored.
    if (!this.#streams.has(source) && !this.#away.has(source)) this.#awaitReturn(source);
  }

  stop(): void {
    for (const stopTimer of this.#away.values()) stopTimer();
    this.#away.clear();
  }

  #awaitReturn(source: string): void {
    const { environment, graceMs, onLost } = this.#options;
    const stopTimer = environment.after(graceMs, () => {
      this.#away.delete(source);
      const keys = [...(this.#keys.get(source) ?? [])];
      for (const key of keys) this.#forget(key);
      if (keys.length > 0) onLost(keys);
    });
    this.#away.set(source, stopTimer);
  }

  #forget(key: string): void {
    const source = this.#senders.get(key);
    if (source === undefined) return;
    this.#senders.delete(key);
    const keys = this.#keys.get(source);
    keys?.delete(key);
    if (keys?.size === 0) this.#keys.delete(source);
  }
}
