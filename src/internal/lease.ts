import { Code, ConnectError } from "@connectrpc/connect";
import { jitteredMs } from "./backoff.js";
import { after } from "./timer.js";

export interface LeaseOptions {
  /** What is held, as the reason of the signal calls it. */
  what: string;
  /** How long a grant and each renewal lasts. */
  ttlMs: number;
  /** When the grant was asked for, by performance.now(): the lease began no earlier, so it ends no earlier than we say. */
  askedAtMs: number;
  /**
   * Asks for another `ttlMs`. Resolves with undefined where they were given and with what happened where there is
   * nothing to renew any more; rejects where it is worth another try.
   */
  renew(call: { signal: AbortSignal; timeoutMs: number }): Promise<string | undefined>;
}

/** What lasts for a time and is renewed from then on until end(), without keeping a Node process alive. */
export class Lease {
  readonly #options: LeaseOptions;
  readonly #over = new AbortController();
  #endsAtMs: number;
  #loss: ConnectError | undefined;
  #failure: unknown;
  #stopWatch = () => {};
  #stopRenewal = () => {};

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#endsAtMs = this.#endOf(options.askedAtMs);
    this.#renewAfter(options.askedAtMs);
    this.#watch();
  }

  /** Aborts when it is over: ended, found lost, or not renewed in time, and then before another can be granted it. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** How long it surely goes on, whatever happens to its renewal; 0 when it is over. */
  get remainingMs(): number {
    return this.signal.aborted ? 0 : Math.max(0, this.#endsAtMs - performance.now());
  }

  /** Why it was over before end(); undefined where it was not. */
  get loss(): ConnectError | undefined {
    return this.#loss;
  }

  /** Stops renewing. `what` happened, for the signal's reason. */
  end(what: string): void {
    this.#stopWatch();
    this.#stopRenewal();
    // Without a cause: an `aborted` with one is taken for a lost connection, and calls would be tried again.
    this.#over.abort(new ConnectError(`${this.#options.what} ${what}`, Code.Aborted));
  }

  #lose(what: string): void {
    if (this.signal.aborted) return;
    this.end(what);
    this.#loss = this.signal.reason as ConnectError;
  }

  /** Earlier than the server's end of it by what clocks may drift and timers be late. */
  #endOf(askedAtMs: number): number {
    const { ttlMs } = this.#options;
    return askedAtMs + ttlMs - Math.min(1000, ttlMs / 10);
  }

  /** Looks at the clock again when the timer has run: some are early. */
  #watch(): void {
    const { remainingMs } = this;
    if (remainingMs > 0) {
      this.#stopWatch = after(remainingMs, () => this.#watch());
    } else {
      const why = this.#failure === undefined ? "no answer" : ConnectError.from(this.#failure).message;
      this.#lose(`could not be renewed before its lease ended: ${why}`);
    }
  }

  /** A third of it passes before the first try, so that another third is there for further ones. */
  #renewAfter(askedAtMs: number): void {
    const delayMs = askedAtMs + this.#options.ttlMs / 3 - performance.now();
    this.#stopRenewal = after(delayMs, () => void this.#renew(1));
  }

  async #renew(attempt: number): Promise<void> {
    const { signal, remainingMs } = this;
    const { ttlMs, renew } = this.#options;
    if (remainingMs === 0) return;
    const askedAtMs = performance.now();
    try {
      // Half of what is left for each try: one that hangs leaves time for the next.
      const lost = await renew({ signal, timeoutMs: remainingMs / 2 });
      if (signal.aborted) return;
      if (lost !== undefined) return this.#lose(lost);
      this.#endsAtMs = this.#endOf(askedAtMs);
      this.#failure = undefined;
      this.#stopWatch();
      this.#renewAfter(askedAtMs);
      this.#watch();
    } catch (error) {
      if (signal.aborted) return;
      this.#failure = error;
      const delayMs = jitteredMs({ minMs: ttlMs / 100, maxMs: ttlMs / 10 }, attempt);
      this.#stopRenewal = after(delayMs, () => void this.#renew(attempt + 1));
    }
  }
}
