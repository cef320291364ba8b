import type { ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { ClockOffset } from "../../gossip/clock-offset.js";
import type { Replica, Stored } from "../../gossip/replica.js";

export interface ClockSyncOptions {
  replica: Replica;
  /** Whether the entry at `key` was written on this device, and the server has not confirmed it. */
  isUnsent: (key: string) => boolean;
  /** Called with the entries that have another timestamp now, and the same value. */
  onRestamped: (restamped: readonly Stored[]) => void;
  /** Called with the entries that were removed because the server accepts them from nobody. */
  onDropped: (dropped: readonly Stored[]) => void;
}

/** So many refusals in a row mean that the clock is not what the server refuses. */
const MOST_REFUSALS = 3;

/** Corrects the clock of a replica by the server's, and with it the writes that were made with a wrong clock. */
export class ClockSync {
  readonly #options: ClockSyncOptions;
  readonly #offset = new ClockOffset();
  #sentMs: number | undefined;
  #refusals = 0;

  constructor(options: ClockSyncOptions) {
    this.#options = options;
  }

  /** To be called before anything is sent on a stream. */
  opened(): void {
    this.#offset.reset();
    this.#sentMs = this.#nowMs();
  }

  /** To be called with the timestamp of each message, before its entries are stored. */
  received(timestamp: Uint8Array | undefined): void {
    this.#refusals = 0;
    if (!timestamp) return;
    // Only the first message is known to respond to what was sent when the stream was opened.
    this.#offset.learn(timestamp, { receivedMs: this.#nowMs(), sentMs: this.#sentMs });
    this.#sentMs = undefined;
    this.#options.replica.clock.offsetMs = this.#offset.offsetMs;
  }

  /**
   * If `error` says that a clock is too far ahead, corrects it and stamps the writes again that nobody else has seen.
   * Returns whether another stream should be opened.
   */
  repair(error: ConnectError): boolean {
    const { reason, metadata } = error.findDetails(ErrorInfoSchema)[0] ?? {};
    if (reason !== "CLOCK_AHEAD" || !metadata || ++this.#refusals > MOST_REFUSALS) return false;
    const serverMs = Number(metadata["nowMs"]);
    const maxAheadMs = Number(metadata["maxAheadMs"]);
    if (!Number.isFinite(serverMs) || !Number.isFinite(maxAheadMs)) return false;
    const times = { receivedMs: this.#nowMs(), sentMs: this.#sentMs };
    this.#offset.learnTime(serverMs, times);
    this.#options.replica.clock.offsetMs = this.#offset.offsetMs;
    this.#restamp(maxAheadMs);
    return true;
  }

  #restamp(maxAheadMs: number): void {
    const { replica, isUnsent, onRestamped, onDropped } = this.#options;
    const ahead: string[] = [];
    const others: Uint8Array[] = [];
    for (const key of replica.keys()) {
      const timestamp = replica.get(key)?.digest?.timestamp;
      if (!timestamp) continue;
      if (replica.clock.isTooFarAhead(timestamp, maxAheadMs)) ahead.push(key);
      else others.push(timestamp);
    }
    replica.clock.setBack(others);
    onRestamped(replica.restamp(ahead.filter(isUnsent)));
    onDropped(replica.drop(ahead.filter((key) => !isUnsent(key))));
  }

  #nowMs(): number {
    return this.#options.replica.environment.nowMs();
  }
}
