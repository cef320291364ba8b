import { runAfter } from "../lib/timer.js";
import type { TunnelLimits } from "./wire/limits.js";

export const now = (): number => performance.now();

export interface HeartbeatOptions {
  readonly limits: TunnelLimits;
  readonly sendPing: (number: number) => void;
  readonly onTimeout: (why: string) => void;
  /** The other end has answered a probe. */
  readonly onProbed: () => void;
  /** Whether anything depends on the other end now: it is then asked sooner. */
  readonly isActive: () => boolean;
  /** Whether this end still sends, so that an answer may be behind it. */
  readonly isSending: () => boolean;
}

/**
 * Finds out whether the other end is there, and how far away: after some silence it is asked, and has to answer in
 * time. An answer is anything that comes.
 */
export class Heartbeat {
  /** The shortest round trip that was measured, in milliseconds; Infinity before the first. */
  rttMs = Number.POSITIVE_INFINITY;
  readonly #options: HeartbeatOptions;
  #heardAtMs = now();
  #number = 0;
  /** When the question was asked that has no answer yet. */
  #askedAtMs: number | undefined;
  #hasHeard = false;
  #stop: () => void;
  #stopProbe: (() => void) | undefined;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.ping();
    this.#stop = runAfter(options.limits.pingTimeoutMs, this.#look);
  }

  /** Something came. */
  onReceived(): void {
    this.#heardAtMs = now();
    if (!this.#hasHeard) {
      this.#hasHeard = true;
      this.activityChanged();
    }
    if (!this.#stopProbe) return;
    this.#stopProbe();
    this.#stopProbe = undefined;
    this.#options.onProbed();
  }

  get silentMs(): number {
    return now() - this.#heardAtMs;
  }

  /** Whether an answer is waited for that decides whether the other end is still there. */
  get isProbing(): boolean {
    return this.#stopProbe !== undefined;
  }

  /** Asks at once, and takes the other end for lost unless something comes soon. */
  probe(): void {
    if (this.isProbing) return;
    if (!this.isPingPending) this.ping();
    this.#stopProbe = runAfter(this.#options.limits.probeTimeoutMs, () => this.#options.onTimeout(this.#why));
  }

  /** More, or less, depends on the other end than before. */
  activityChanged(): void {
    this.#stop();
    this.#look();
  }

  get isPingPending(): boolean {
    return this.#askedAtMs !== undefined;
  }

  ping(): void {
    this.#askedAtMs = now();
    this.#options.sendPing(++this.#number);
  }

  /** The answer to the last ping took so long, in milliseconds; undefined where it is to another one. */
  pong(number: number): number | undefined {
    if (number !== this.#number || this.#askedAtMs === undefined) return undefined;
    const tookMs = Math.max(now() - this.#askedAtMs, 0.001);
    this.#askedAtMs = undefined;
    this.rttMs = Math.min(this.rttMs, tookMs);
    return tookMs;
  }

  stop(): void {
    this.#stop();
    this.#stopProbe?.();
  }

  get #why(): string {
    return `nothing was heard for ${Math.round(this.silentMs)} ms`;
  }

  readonly #look = (): void => {
    const { limits, isActive, isSending, onTimeout: onSilent } = this.#options;
    const active = this.#hasHeard && isActive();
    const silenceMs = active ? Math.min(limits.pingMs, limits.activePingMs) : limits.pingMs;
    const answerMs =
      active && !isSending()
        ? Math.min(limits.pingTimeoutMs, limits.activePingTimeoutMs)
        : limits.pingTimeoutMs;
    const { silentMs } = this;
    const waitedMs = this.#askedAtMs === undefined ? 0 : now() - this.#askedAtMs;
    if (silentMs >= answerMs && waitedMs >= answerMs) {
      onSilent(this.#why);
      return;
    }
    if (!this.isPingPending && silentMs >= silenceMs) this.ping();
    const nextMs = this.isPingPending ? answerMs - Math.min(silentMs, waitedMs) : silenceMs - silentMs;
    this.#stop = runAfter(Math.max(nextMs, 1), this.#look);
  };
}
