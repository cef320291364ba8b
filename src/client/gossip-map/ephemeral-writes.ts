import type { MapValue } from "../../../gen/atomix/map/map_pb.js";
import { compareBytes } from "../../gossip/clock.js";
import type { Environment } from "../../gossip/environment.js";
import { isEphemeralTime, type Lifetime } from "../../gossip/lifetime.js";
import type { Stored } from "../../gossip/replica.js";

/**
 * The lifetime of an ephemeral entry that its member renews, for the case that the server cannot remove it: its own
 * end. It is long enough for pages in the background, whose timers run once a minute.
 */
export const EPHEMERAL_LIFETIME: Lifetime = { ttlMs: 90_000, isEphemeral: true };

/** How often the entries are renewed, in milliseconds. */
const RENEW_MS = 30_000;

/** The ephemeral entries of this member, which it renews while it is there. One timer serves all of them. */
export class EphemeralWrites {
  readonly #environment: Environment;
  readonly #renew: (key: string, value: Uint8Array) => void;
  /** The last write of each. */
  readonly #entries = new Map<string, MapValue>();
  #stopTimer: (() => void) | undefined;
  #isClosed = false;

  /** `renew` writes the value at `key` once more, and reports that to written(). */
  constructor(environment: Environment, renew: (key: string, value: Uint8Array) => void) {
    this.#environment = environment;
    this.#renew = renew;
  }

  /** To be called with each write of this member. */
  written({ key, after }: Stored): void {
    if (!after.digest?.tombstone && isEphemeralTime(after.digest?.timestamp ?? NONE)) {
      this.#entries.set(key, after);
      this.#stopTimer ??= this.#environment.after(RENEW_MS, () => {
        this.#stopTimer = undefined;
        this.renewAll();
      });
    } else {
      this.#entries.delete(key);
    }
  }

  /**
   * To be called with each entry of others that was stored. A tombstone with the timestamp of the entry means that the
   * server took this member for lost; any other entry replaces it.
   */
  replaced({ key, after }: Stored): void {
    const own = this.#entries.get(key);
    if (!own) return;
    const [theirs, ours] = [after.digest?.timestamp ?? NONE, own.digest?.timestamp ?? NONE];
    if (compareBytes(theirs, ours) === 0) this.#renewOne(key, own);
    else this.#entries.delete(key);
  }

  /** To be called when the lifetime of an entry has ended: this process was asleep. */
  ended({ key, after }: Stored): void {
    if (this.#entries.get(key) === after) this.#renewOne(key, after);
  }

  /** Renews all of them: the server may have lost this member, or is another one. */
  renewAll(): void {
    for (const [key, entry] of [...this.#entries]) this.#renewOne(key, entry);
  }

  /** Ends the renewal. Returns the keys, which are to be removed. */
  close(): string[] {
    this.#isClosed = true;
    this.#stopTimer?.();
    const keys = [...this.#entries.keys()];
    this.#entries.clear();
    return keys;
  }

  #renewOne(key: string, { value }: MapValue): void {
    if (!this.#isClosed) this.#renew(key, value);
  }
}

const NONE = new Uint8Array();
