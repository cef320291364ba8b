import { senderMsOf } from "./clock.js";

/** When a message arrived, and when something was sent before that the peer had received when it sent it. */
export interface MessageTimes {
  /** By the wall clock of this process, in Unix milliseconds. */
  receivedMs: number;
  /** The same; undefined if nothing is known to have arrived before. */
  sentMs?: number | undefined;
}

/**
 * How far the wall clock of this process is behind that of a peer, as the timestamps of its messages tell. A message
 * was sent before it arrived, and after the peer had received what it responds to. So each one bounds the offset from
 * below, and a response from above. Slow messages only give wide bounds; the narrowest ones count. A clock that is
 * within the bounds is taken to be right.
 */
export class ClockOffset {
  #leastMs = Number.NEGATIVE_INFINITY;
  #mostMs = Number.POSITIVE_INFINITY;

  /** In milliseconds; negative if the clock of this process is ahead. */
  get offsetMs(): number {
    return Math.min(Math.max(0, this.#leastMs), this.#mostMs);
  }

  /** Forgets everything: the next message may come from another peer. */
  reset(): void {
    this.#leastMs = Number.NEGATIVE_INFINITY;
    this.#mostMs = Number.POSITIVE_INFINITY;
  }

  /** Takes the timestamp of a message into account. Ignores one that does not come from a wall clock. */
  learn(timestamp: Uint8Array, times: MessageTimes): void {
    const peerMs = senderMsOf(timestamp);
    if (peerMs !== undefined) this.learnTime(peerMs, times);
  }

  /** As learn(), with the peer's wall clock in Unix milliseconds. */
  learnTime(peerMs: number, { receivedMs, sentMs }: MessageTimes): void {
    const least = peerMs - receivedMs;
    const most = sentMs === undefined ? Number.POSITIVE_INFINITY : peerMs - sentMs;
    // One of the clocks was set: what was learned before is wrong.
    if (least > this.#mostMs || most < this.#leastMs) this.reset();
    this.#leastMs = Math.max(this.#leastMs, least);
    this.#mostMs = Math.min(this.#mostMs, most);
  }
}
