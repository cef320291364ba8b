import type { Message } from "../../../gen/atomix/map/map_pb.js";
import { clockAt, senderMsOf, wallMsOf, YEAR_2000_MS } from "../../gossip/clock.js";
import type { MemberHello } from "../../gossip/reserved-key.js";
import type { ClockSyncOptions } from "./clock-sync.js";

/**
 * When a replica had all entries of the server for the last time. If the server has forgotten tombstones since, it tells
 * the replica to start afresh: otherwise this would bring removed entries back.
 */
export class SyncPoint {
  readonly #options: ClockSyncOptions;
  #clock: bigint | undefined;

  constructor(options: ClockSyncOptions) {
    this.#options = options;
  }

  /** The greeting of this member at the beginning of a stream. */
  hello(): MemberHello {
    return { syncedUpTo: this.#clock ?? this.#lastSent() };
  }

  /** Handles what the server tells at the beginning of a stream. */
  receive({ afresh }: MemberHello): undefined {
    if (!afresh) return;
    const { replica, isUnsent, onDropped, onRestamped } = this.#options;
    this.#clock = undefined;
    const keys = [...replica.keys()];
    // The server sends again what it still has.
    onDropped(replica.drop(keys.filter((key) => !isUnsent(key))));
    // Removals that this member has not heard of must not win over them.
    onRestamped(replica.restamp(keys.filter(isUnsent)));
  }

  /** To be called with the message after which the replica has all entries. */
  reached({ message }: Message): void {
    const serverMs = message.value && senderMsOf(message.value.timestamp);
    if (serverMs !== undefined) this.#clock = clockAt(serverMs);
  }

  /** The time of the latest entry that the server has, as the storage has no other: it came over a connection. */
  #lastSent(): bigint | undefined {
    const { replica, isUnsent } = this.#options;
    let lastMs = 0;
    for (const key of replica.keys()) {
      const timestamp = isUnsent(key) ? undefined : replica.get(key)?.digest?.timestamp;
      if (timestamp) lastMs = Math.max(lastMs, wallMsOf(timestamp));
    }
    return lastMs >= YEAR_2000_MS ? clockAt(lastMs) : undefined;
  }
}
