import { utf8 } from "../lib/utf8.js";
import type { Environment } from "./environment.js";
import { AHEAD, suffixOf, withSuffix } from "./timestamp-suffix.js";

/** The clock counts milliseconds times 2^16, so a member can write 65536 times in a millisecond. */
const FRACTION_BITS = 16n;

/** Earlier timestamps do not come from a wall clock. */
export const YEAR_2000_MS = 946_684_800_000;

const LATEST = 2n ** 64n - 1n;

const ZERO = new Uint8Array(8);

/**
 * A hybrid logical clock: never behind the wall clock, and ahead of every timestamp that it has observed. A timestamp
 * has the clock in 8 bytes, big-endian, and the member's id in UTF-8. So two members never write the same timestamp,
 * and the order of the bytes is the order of the writes.
 */
export class HybridClock {
  readonly #member: Uint8Array;
  readonly #environment: Pick<Environment, "nowMs">;
  readonly #maxAheadMs: number;
  #last = 0n;

  /**
   * How far the wall clock of this process is behind the one that counts, in milliseconds; negative if it is ahead: see
   * ClockOffset.
   */
  offsetMs = 0;

  /** Timestamps that are more than `maxAheadMs` ahead of the wall clock are not observed. */
  constructor(
    member: string,
    environment: Pick<Environment, "nowMs">,
    maxAheadMs = Number.POSITIVE_INFINITY,
  ) {
    this.#member = utf8(member);
    this.#environment = environment;
    this.#maxAheadMs = maxAheadMs;
  }

  /** The wall clock, in Unix milliseconds, corrected by `offsetMs`. */
  get wallMs(): number {
    return this.#environment.nowMs() + this.offsetMs;
  }

  /** A timestamp for a write: later than all timestamps that it returned or observed before. */
  tick(): Uint8Array {
    const wall = this.#wall();
    const next = this.#last < LATEST ? this.#last + 1n : LATEST;
    this.#last = wall > next ? wall : next;
    return this.#stamp();
  }

  /** The current timestamp, for messages. If the clock is ahead of the wall clock, a suffix tells by how much. */
  read(): Uint8Array {
    const wall = this.#wall();
    if (wall > this.#last) this.#last = wall;
    const aheadMs = Number((this.#last - wall) >> FRACTION_BITS);
    return aheadMs > 0 ? withSuffix(this.#stamp(), { flags: AHEAD, ms: aheadMs }) : this.#stamp();
  }

  /** Whether `timestamp` is more than `maxAheadMs` (default: that of this clock) ahead of the wall clock. */
  isTooFarAhead(timestamp: Uint8Array, maxAheadMs = this.#maxAheadMs): boolean {
    return wallMsOf(timestamp) - this.wallMs > maxAheadMs;
  }

  /**
   * Advances the clock to the timestamp of another member. Ignores a malformed one, and one that is more than
   * `maxAheadMs` (default: that of this clock) ahead of the wall clock.
   */
  observe(timestamp: Uint8Array, maxAheadMs = this.#maxAheadMs): void {
    const clock = clockOf(timestamp);
    if (clock === undefined || clock <= this.#last || this.isTooFarAhead(timestamp, maxAheadMs)) return;
    this.#last = clock;
  }

  /** Sets the clock back, to the wall clock and the latest of `timestamps`: what it has returned since does not count. */
  setBack(timestamps: Iterable<Uint8Array>): void {
    this.#last = 0n;
    for (const timestamp of timestamps) this.observe(timestamp);
  }

  #wall(): bigint {
    return BigInt(Math.max(0, Math.floor(this.wallMs))) << FRACTION_BITS;
  }

  #stamp(): Uint8Array {
    const stamp = new Uint8Array(8 + this.#member.length);
    new DataView(stamp.buffer).setBigUint64(0, this.#last);
    stamp.set(this.#member, 8);
    return stamp;
  }
}

/** The clock of a timestamp; 0 for an empty one. Undefined if it is malformed: shorter than a clock. */
export function clockOf(timestamp: Uint8Array): bigint | undefined {
  if (timestamp.length === 0) return 0n;
  if (timestamp.length < 8) return undefined;
  return new DataView(timestamp.buffer, timestamp.byteOffset).getBigUint64(0);
}

/** The clock at a wall time, and the wall time of a clock, in Unix milliseconds. */
export const clockAt = (ms: number): bigint => BigInt(Math.max(0, Math.floor(ms))) << FRACTION_BITS;
export const msOfClock = (clock: bigint): number => Number(clock >> FRACTION_BITS);

/** The wall time of a hybrid clock's timestamp, in Unix milliseconds: that of the write, or a little later. */
export function wallMsOf(timestamp: Uint8Array): number {
  if (timestamp.length < 8) return 0;
  // Without bigints, as this runs for every digest.
  const view = new DataView(timestamp.buffer, timestamp.byteOffset);
  return view.getUint32(0) * 2 ** 16 + view.getUint16(4);
}

/**
 * The wall clock of a message's sender, in Unix milliseconds; undefined if its timestamp does not come from one. It may
 * be later than the true one if the sender is another implementation.
 */
export function senderMsOf(timestamp: Uint8Array): number | undefined {
  const ms = wallMsOf(timestamp);
  if (ms < YEAR_2000_MS) return undefined;
  const suffix = suffixOf(timestamp);
  return typeof suffix === "object" && suffix.flags & AHEAD ? ms - suffix.ms : ms;
}

/** Positive if `a` is later, negative if `b` is. Peers that write only the clock can write equal timestamps. */
export const compareTimestamps = (a: Uint8Array, b: Uint8Array): number =>
  compareBytes(a.length === 0 ? ZERO : a, b.length === 0 ? ZERO : b);

/** The order of unsigned bytes; if one is a prefix of the other, the longer one is later. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
