import { Code, ConnectError } from "@connectrpc/connect";
import { jitteredMs } from "../../lib/backoff.js";
import { runAfter } from "../../lib/timer.js";
import { stopwatch } from "./stopwatch.js";

export interface LeaseOptions {
  /** What is held, as the reason of the signal calls it. */
  what: string;
  /** How long a grant and each renewal lasts. */
  ttlMs: number;
  /** The time since the grant was asked for: the lease began no earlier, so it ends no earlier than we say. */
  sinceAskedMs: () => number;
  /**
   * Asks for another `ttlMs`. Resolves with undefined where they were given and with what happened where there is
   * nothing to renew any more; rejects where it is worth another try.
   */
  renew(call: { signal: AbortSignal; timeoutMs: number; isRetry: boolean }): Promise<string | undefined>;
}

/** What lasts for a time and is renewed from then on until end(). Its timers keep no Node process alive. */
export class Lease {
  readonly #options: LeaseOptions;
  readonly #over = new AbortController();
  readonly #signal: AbortSignal;
  /** The time since what it has now was asked for. */
  #sinceAskedMs: () => number;
  #isOver = false;
  #isAsking = false;
  #loss: ConnectError | undefined;
  #failure: unknown;
  #stopWatch = () => {};
  #stopRenewal = () => {};

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#sinceAskedMs = options.sinceAskedMs;
    this.#signal = checkedSignal(this.#over.signal, () => this.#check());
    this.#renewLater();
    this.#watch();
  }

  /**
   * Aborts when it is over: ended, found lost, or not renewed in time, and then before another can be granted it. Who
   * reads it makes it look at the clock, so that it is right also after a pause in which no timer could run.
   */
  get signal(): AbortSignal {
    return this.#signal;
  }

  /** How long it surely goes on, whatever happens to its renewal; 0 when it is over. */
  get remainingMs(): number {
    return this.#isOver ? 0 : Math.max(0, this.#leastMs - this.#sinceAskedMs());
  }

  /** Why it was over before end(); undefined where it was not. */
  get loss(): ConnectError | undefined {
    this.#check();
    return this.#loss;
  }

  /** Stops renewing. `what` happened, for the signal's reason. */
  end(what: string): void {
    this.#check();
    this.#end(what);
  }

  #end(what: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopWatch();
    this.#stopRenewal();
    // Without a cause: an `aborted` with one is taken for a lost connection, and calls would be tried again.
    this.#over.abort(new ConnectError(`${this.#options.what} ${what}`, Code.Aborted));
  }

  #lose(what: string): void {
    if (this.#isOver) return;
    this.#end(what);
    this.#loss = this.#over.signal.reason as ConnectError;
  }

  /** How long a grant is believed in: shorter than the server's by what clocks may drift and timers be late. */
  get #leastMs(): number {
    const { ttlMs } = this.#options;
    return ttlMs - Math.min(1000, ttlMs / 10);
  }

  #check(): void {
    if (this.#isOver || this.remainingMs > 0) return;
    this.#lose(`could not be renewed before its lease ended: ${this.#whyNot()}`);
  }

  #whyNot(): string {
    if (this.#failure !== undefined) return ConnectError.from(this.#failure).message;
    return this.#isAsking ? "no answer" : "nothing could run here for so long";
  }

  /** Looks at the clock again when the timer has run: some are early. */
  #watch(): void {
    this.#check();
    if (!this.#isOver) this.#stopWatch = runAfter(this.remainingMs, () => this.#watch());
  }

  /** A third of it passes before the first try, so that another third is there for further ones. */
  #renewLater(): void {
    const delayMs = this.#options.ttlMs / 3 - this.#sinceAskedMs();
    this.#stopRenewal = runAfter(delayMs, () => void this.#renew(1));
  }

  async #renew(attempt: number): Promise<void> {
    const { remainingMs } = this;
    const { signal } = this.#over;
    const { ttlMs, renew } = this.#options;
    if (remainingMs === 0) return;
    const sinceAskedMs = stopwatch();
    this.#isAsking = true;
    try {
      // Half of what is left for each try: one that hangs leaves time for the next.
      const lost = await renew({ signal, timeoutMs: remainingMs / 2, isRetry: attempt > 1 });
      if (signal.aborted) return;
      if (lost !== undefined) return this.#lose(lost);
      // An answer that comes too late brings nothing back.
      this.#check();
      if (this.#isOver) return;
      this.#sinceAskedMs = sinceAskedMs;
      this.#isAsking = false;
      this.#failure = undefined;
      this.#stopWatch();
      this.#renewLater();
      this.#watch();
    } catch (error) {
      if (signal.aborted) return;
      this.#failure = error;
      const delayMs = jitteredMs({ minMs: ttlMs / 100, maxMs: ttlMs / 10 }, attempt);
      this.#stopRenewal = runAfter(delayMs, () => void this.#renew(attempt + 1));
    }
  }
}

/** `signal`, which calls `check` before its state is read. Native code that was given it sees what its events tell. */
function checkedSignal(signal: AbortSignal, check: () => void): AbortSignal {
  const read = (key: "aborted" | "reason"): PropertyDescriptor => ({
    get() {
      check();
      return Reflect.get(AbortSignal.prototype, key, signal) as unknown;
    },
  });
  const throwIfAborted = () => {
    if (signal.aborted) throw signal.reason;
  };
  return Object.defineProperties(signal, {
    aborted: read("aborted"),
    reason: read("reason"),
    throwIfAborted: { value: throwIfAborted },
  });
}
