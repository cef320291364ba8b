import type { EngineClock } from "../../engine.js";

/** An estimate of the cluster's clock is replaced after this time, though a later sample is less exact. */
const SAMPLE_LIFETIME_MS = 60_000;

/** Of one second that passes, the clock may be set back by at most this much, so that it never runs backwards. */
const SLEW = 0.5;

/**
 * An estimate that is ahead by more is corrected at once, though the clock then runs backwards: entries of other servers
 * would have expired for this one long before they do.
 */
const MAX_SLEW_MS = 1000;

/**
 * The clock of the cluster as this server estimates it, in Unix milliseconds: the wall clock of the streams' leader.
 * All servers measure lifetimes by it, whatever their own clocks show. It does not run backwards, unless the clock of
 * the leader was set back, or another leader's is behind, by more than a second.
 */
export class ClusterClock implements EngineClock {
  /** The cluster's time minus the monotonic clock. */
  #offsetMs = Date.now() - performance.now();
  #uncertaintyMs = Number.POSITIVE_INFINITY;
  #sampledAtMs = Number.NEGATIVE_INFINITY;
  #lastMs = 0;
  #lastAtMs = 0;

  /** Adds a sample: between `sentMs` and `receivedMs` of performance.now(), the cluster's clock showed `clusterMs`. */
  add(clusterMs: number, sentMs: number, receivedMs: number): void {
    const uncertaintyMs = (receivedMs - sentMs) / 2;
    const isOld = receivedMs - this.#sampledAtMs > SAMPLE_LIFETIME_MS;
    const offsetMs = clusterMs - (sentMs + receivedMs) / 2;
    // Another leader, or a clock that was set: the old estimate cannot be true any more.
    const isContradiction = Math.abs(offsetMs - this.#offsetMs) > uncertaintyMs + this.#uncertaintyMs;
    if (uncertaintyMs > this.#uncertaintyMs && !isOld && !isContradiction) return;
    this.#offsetMs = offsetMs;
    this.#uncertaintyMs = uncertaintyMs;
    this.#sampledAtMs = receivedMs;
  }

  readonly now = (): number => {
    const atMs = performance.now();
    const estimateMs = atMs + this.#offsetMs;
    // If the estimate was corrected backwards, the clock runs slower until it agrees.
    const leastMs = this.#lastMs + (atMs - this.#lastAtMs) * SLEW;
    this.#lastMs = leastMs - estimateMs > MAX_SLEW_MS ? estimateMs : Math.max(estimateMs, leastMs);
    this.#lastAtMs = atMs;
    return this.#lastMs;
  };

  readonly wall = (): number => Math.floor(this.now());

  readonly ageOf = (wallMs: number): number => this.now() - wallMs;
}
