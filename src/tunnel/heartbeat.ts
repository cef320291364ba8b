import { Alarm } from "../lib/alarm.js";
import { runAfter } from "../lib/timer.js";
import type { TunnelLimits } from "./wire/limits.js";

export interface HeartbeatOptions {
  readonly limits: TunnelLimits;
  readonly sendPing: (number: number) => void;
  readonly onTimeout: (reason: string) => void;
  /** Something was received after probe(). */
  readonly onProbed: () => void;
  /** Whether calls depend on the other end now: a loss is then detected earlier. */
  readonly isActive: () => boolean;
  /** Whether the socket has much to send, so that the PING may wait behind it. */
  readonly isSending: () => boolean;
}

/**
 * Detects a lost connection, and measures the round trip: sends a PING after a silence, and times out if nothing at all
 * is received for too long after it.
 */
export class Heartbeat {
  /** The shortest round trip so far, in milliseconds; Infinity before the first. */
  rttMs = Number.POSITIVE_INFINITY;
  readonly #options: HeartbeatOptions;
  readonly #alarm = new Alarm(() => this.check());
  #receivedAtMs = performance.now();
  #hasReceived = false;
  #pingNumber = 0;
  /** When the pending PING was sent. */
  #pingSentAtMs: number | undefined;
  #stopProbe: (() => void) | undefined;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  /** Sends the first PING. */
  start(): void {
    this.ping();
    this.check();
  }

  stop(): void {
    this.#alarm.stop();
    this.#stopProbe?.();
  }

  /** Notes that something was received. */
  onReceived(): void {
    this.#receivedAtMs = performance.now();
    if (!this.#hasReceived) {
      this.#hasReceived = true;
      this.check();
    }
    if (!this.#stopProbe) return;
    this.#stopProbe();
    this.#stopProbe = undefined;
    this.#options.onProbed();
  }

  /** The time since something was received, in milliseconds. */
  get silentMs(): number {
    return performance.now() - this.#receivedAtMs;
  }

  /** Whether probe() has had no answer yet. */
  get isProbing(): boolean {
    return this.#stopProbe !== undefined;
  }

  /** Sends a PING unless one is pending, and times out unless something is received within `probeTimeoutMs`. */
  probe(): void {
    if (this.isProbing) return;
    if (!this.isPingPending) this.ping();
    this.#stopProbe = runAfter(this.#options.limits.probeTimeoutMs, () =>
      this.#options.onTimeout(this.#timeoutReason),
    );
  }

  get isPingPending(): boolean {
    return this.#pingSentAtMs !== undefined;
  }

  ping(): void {
    this.#pingSentAtMs = performance.now();
    this.#options.sendPing(++this.#pingNumber);
  }

  /** Returns the round trip of the pending PING in milliseconds; undefined if the PONG answers an earlier one. */
  pong(number: number): number | undefined {
    if (number !== this.#pingNumber || this.#pingSentAtMs === undefined) return undefined;
    const tookMs = Math.max(performance.now() - this.#pingSentAtMs, 0.001);
    this.#pingSentAtMs = undefined;
    this.rttMs = Math.min(this.rttMs, tookMs);
    return tookMs;
  }

  get #timeoutReason(): string {
    return `nothing was heard for ${Math.round(this.silentMs)} ms`;
  }

  /** Sends a PING or times out, if it is time. To be called when `isActive` may have changed. */
  check(): void {
    const { limits, isActive, isSending, onTimeout } = this.#options;
    const active = this.#hasReceived && isActive();
    const pingMs = active ? Math.min(limits.pingMs, limits.activePingMs) : limits.pingMs;
    const timeoutMs =
      active && !isSending()
        ? Math.min(limits.pingTimeoutMs, limits.activePingTimeoutMs)
        : limits.pingTimeoutMs;
    const { silentMs } = this;
    const waitedMs = this.#pingSentAtMs === undefined ? 0 : performance.now() - this.#pingSentAtMs;
    if (silentMs >= timeoutMs && waitedMs >= timeoutMs) {
      onTimeout(this.#timeoutReason);
      return;
    }
    if (!this.isPingPending && silentMs >= pingMs) this.ping();
    const nextMs = this.isPingPending ? timeoutMs - Math.min(silentMs, waitedMs) : pingMs - silentMs;
    this.#alarm.ring(Math.max(nextMs, 1));
  }
}
