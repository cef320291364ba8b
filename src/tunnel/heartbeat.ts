import { after } from "../internal/timer.js";
import type { TunnelLimits } from "./limits.js";

export const now = (): number => performance.now();

/**
 * Finds out whether the other end is there, and how far away: after some silence it is asked, and has to answer in
 * time. An answer is anything that comes.
 */
export class Heartbeat {
  /** The shortest round trip that was measured, in milliseconds; Infinity before the first. */
  rttMs = Number.POSITIVE_INFINITY;
  readonly #limits: TunnelLimits;
  readonly #ask: (number: number) => void;
  readonly #onSilent: (why: string) => void;
  #heardAtMs = now();
  #number = 0;
  /** When the question was asked that has no answer yet. */
  #askedAtMs: number | undefined;
  #stop: () => void;

  constructor(limits: TunnelLimits, ask: (number: number) => void, onSilent: (why: string) => void) {
    this.#limits = limits;
    this.#ask = ask;
    this.#onSilent = onSilent;
    this.ping();
    this.#stop = after(limits.answerMs, this.#look);
  }

  /** Something came. */
  heard(): void {
    this.#heardAtMs = now();
  }

  get isWaiting(): boolean {
    return this.#askedAtMs !== undefined;
  }

  ping(): void {
    this.#askedAtMs = now();
    this.#ask(++this.#number);
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
  }

  readonly #look = (): void => {
    const { silenceMs, answerMs } = this.#limits;
    const silentMs = now() - this.#heardAtMs;
    const waitedMs = this.#askedAtMs === undefined ? 0 : now() - this.#askedAtMs;
    if (silentMs >= answerMs && waitedMs >= answerMs) {
      this.#onSilent(`nothing was heard for ${Math.round(silentMs)} ms`);
      return;
    }
    if (!this.isWaiting && silentMs >= silenceMs) this.ping();
    const nextMs = this.isWaiting ? answerMs - Math.min(silentMs, waitedMs) : silenceMs - silentMs;
    this.#stop = after(Math.max(nextMs, 1), this.#look);
  };
}
