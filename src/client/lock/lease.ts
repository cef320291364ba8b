import { Code, ConnectError } from "@connectrpc/connect";
import { jitteredMs } from "../../lib/backoff.js";
import { runAfter } from "../../lib/timer.js";
import { stopwatch } from "./stopwatch.js";

export interface LeaseOptions {
  /** The name of the leased thing in the reason of the signal: `the lock on "a"`. */
  subject: string;
  /** How long the grant and each renewal last. */
  ttlMs: number;
  /** The time since the request for the grant. The server's lease began later, so it ends later than this one. */
  sinceRequestMs: () => number;
  /**
   * Requests another `ttlMs`. Resolves with undefined if they were granted, and with the reason if the lease is lost.
   * Rejects if the request is to be retried.
   */
  renew(call: { signal: AbortSignal; timeoutMs: number; isRetry: boolean }): Promise<string | undefined>;
}

/** A lease that is renewed until end(). Its timers keep no Node process alive. */
export class Lease {
  readonly #options: LeaseOptions;
  readonly #ended = new AbortController();
  readonly #signal: AbortSignal;
  /** The time since the request for the current grant. */
  #sinceRequestMs: () => number;
  #hasEnded = false;
  #isRenewing = false;
  #loss: ConnectError | undefined;
  #renewalError: unknown;
  #stopWatch = () => {};
  #stopRenewal = () => {};

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#sinceRequestMs = options.sinceRequestMs;
    this.#signal = checkedSignal(this.#ended.signal, () => this.#check());
    this.#scheduleRenewal();
    this.#watch();
  }

  /**
   * Aborts on end(), when the lease is found lost, and if it was not renewed in time, before the server can grant it to
   * another. Reading it reads the clock, so it is correct also after a pause in which no timer could run.
   */
  get signal(): AbortSignal {
    return this.#signal;
  }

  /** The time until it ends if no renewal succeeds; 0 after its end. */
  get remainingMs(): number {
    return this.#hasEnded ? 0 : Math.max(0, this.#safeMs - this.#sinceRequestMs());
  }

  /** Why it ended before end(); undefined if it did not. */
  get loss(): ConnectError | undefined {
    this.#check();
    return this.#loss;
  }

  /** Stops the renewals. The reason of the signal is the subject and `event`: "was released". */
  end(event: string): void {
    this.#check();
    this.#end(event);
  }

  #end(event: string): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#stopWatch();
    this.#stopRenewal();
    // Has no cause: `aborted` with a cause counts as a lost connection, and calls would be retried.
    this.#ended.abort(new ConnectError(`${this.#options.subject} ${event}`, Code.Aborted));
  }

  #lose(event: string): void {
    if (this.#hasEnded) return;
    this.#end(event);
    this.#loss = this.#ended.signal.reason as ConnectError;
  }

  /** How long a grant lasts here: shorter than on the server, since clocks drift and timers are late. */
  get #safeMs(): number {
    const { ttlMs } = this.#options;
    return ttlMs - Math.min(1000, ttlMs / 10);
  }

  #check(): void {
    if (this.#hasEnded || this.remainingMs > 0) return;
    this.#lose(`could not be renewed before its lease ended: ${this.#renewalFailure()}`);
  }

  #renewalFailure(): string {
    if (this.#renewalError !== undefined) return ConnectError.from(this.#renewalError).message;
    return this.#isRenewing ? "no answer" : "nothing could run here for so long";
  }

  /** Checks the clock again when its timer fires, because timers can fire early. */
  #watch(): void {
    this.#check();
    if (!this.#hasEnded) this.#stopWatch = runAfter(this.remainingMs, () => this.#watch());
  }

  /** Waits for a third of the ttl, so that most of it remains for retries. */
  #scheduleRenewal(): void {
    const delayMs = this.#options.ttlMs / 3 - this.#sinceRequestMs();
    this.#stopRenewal = runAfter(delayMs, () => void this.#renew(1));
  }

  async #renew(attempt: number): Promise<void> {
    const { remainingMs } = this;
    const { signal } = this.#ended;
    const { ttlMs, renew } = this.#options;
    if (remainingMs === 0) return;
    const sinceRequestMs = stopwatch();
    this.#isRenewing = true;
    try {
      // Half of the remaining time for each attempt, so that one that hangs leaves time for the next.
      const lossEvent = await renew({ signal, timeoutMs: remainingMs / 2, isRetry: attempt > 1 });
      if (signal.aborted) return;
      if (lossEvent !== undefined) return this.#lose(lossEvent);
      // An answer after the end does not restore the lease.
      this.#check();
      if (this.#hasEnded) return;
      this.#sinceRequestMs = sinceRequestMs;
      this.#isRenewing = false;
      this.#renewalError = undefined;
      this.#stopWatch();
      this.#scheduleRenewal();
      this.#watch();
    } catch (error) {
      if (signal.aborted) return;
      this.#renewalError = error;
      const delayMs = jitteredMs({ minMs: ttlMs / 100, maxMs: ttlMs / 10 }, attempt);
      this.#stopRenewal = runAfter(delayMs, () => void this.#renew(attempt + 1));
    }
  }
}

/**
 * Makes `signal` call `check` before its state is read. Platform code that was given the signal reads its own state,
 * which changes with the abort event.
 */
function checkedSignal(signal: AbortSignal, check: () => void): AbortSignal {
  const getter = (key: "aborted" | "reason"): PropertyDescriptor => ({
    get() {
      check();
      return Reflect.get(AbortSignal.prototype, key, signal) as unknown;
    },
  });
  const throwIfAborted = () => {
    if (signal.aborted) throw signal.reason;
  };
  return Object.defineProperties(signal, {
    aborted: getter("aborted"),
    reason: getter("reason"),
    throwIfAborted: { value: throwIfAborted },
  });
}
