import { MethodOptions_IdempotencyLevel as Level } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { type Backoff, jitteredMs } from "../lib/backoff.js";
import { checkOptions } from "../lib/checks.js";
import { checkedCount, checkedMs } from "../lib/count-checks.js";
import { mayRepeat } from "../rpc/repeatable.js";
import { sleep } from "../rpc/sleep.js";
import { lazyChunk } from "./lazy.js";
import { normalizeError } from "./normalize-error.js";

/** How often, how soon and what is tried again. */
export interface RetryOptions {
  /** The tries of one call in all, the first included; Infinity: as many as it takes. Default: 4. */
  maxAttempts?: number;
  /** The bound of the first wait; it doubles with each further one. Default: 50. */
  minDelayMs?: number;
  /** The longest wait, unless the server asks for a longer one. Default: 2000. */
  maxDelayMs?: number;
  /**
   * What may be sent again after its answer was lost. "safe": reads, and writes whose condition lets them happen only
   * once. "all": every unary call, for those who know that theirs may happen twice. Default: "safe".
   */
  calls?: "safe" | "all";
}

/** A transport whose unary calls are tried again while the server is unavailable, as far as that is safe. */
export function withRetry(transport: Transport, options: RetryOptions = {}): Transport {
  const what = "Cannot retry";
  checkOptions(what, options, { calls: ["safe", "all"] });
  const { maxAttempts = 4, minDelayMs = 50, maxDelayMs = 2000, calls = "safe" } = options;
  checkedCount(what, "maxAttempts", maxAttempts);
  checkedMs(what, "minDelayMs", minDelayMs);
  checkedMs(what, "maxDelayMs", maxDelayMs);
  const backoff: Backoff = { minMs: minDelayMs, maxMs: maxDelayMs };
  const budget = new Budget();
  return {
    async unary(method, signal, timeoutMs, header, input, values) {
      const repeat = values?.get(mayRepeat) ?? "no";
      const once = repeat === "once";
      const safe = repeat !== "no" || calls === "all" || method.idempotency !== Level.IDEMPOTENCY_UNKNOWN;
      // Connect takes 0 and less for no deadline at all.
      const endsAtMs = timeoutMs !== undefined && timeoutMs > 0 ? Date.now() + timeoutMs : undefined;
      let first: unknown;
      for (let attempt = 1; ; attempt++) {
        const leftMs = endsAtMs === undefined ? timeoutMs : Math.max(1, endsAtMs - Date.now());
        try {
          const response = await transport.unary(method, signal, leftMs, header, input, values);
          budget.succeeded();
          return response;
        } catch (caught) {
          const error = await normalizeError(caught);
          const code = error instanceof ConnectError ? error.code : undefined;
          if (first !== undefined && once && code === Code.Aborted) throw first;
          first ??= error;
          if (code !== Code.Unavailable || !safe || attempt >= maxAttempts || !budget.spend()) throw error;
          const waitMs = Math.max(jitteredMs(backoff, attempt), await askedMs(error));
          // A wait past the deadline would only hide what went wrong behind "deadline exceeded".
          if (endsAtMs !== undefined && Date.now() + waitMs >= endsAtMs) throw error;
          await sleep(waitMs, signal);
        }
      }
    },
    stream: (...args) => transport.stream(...args),
  };
}

/** How long the server asks to wait. What reads that is loaded where there is something to read. */
async function askedMs(error: unknown): Promise<number> {
  if (!(error instanceof ConnectError) || error.details.length === 0) return 0;
  try {
    return (await lazyChunk()).retryDelayMs(error) ?? 0;
  } catch {
    return 0;
  }
}

/**
 * Keeps retries a small part of all calls, so that they do not bury a server that is already down: each failure costs
 * a token, ten successes earn one, and below half of the tokens nothing is tried again.
 */
class Budget {
  #tokens = 20;

  succeeded(): void {
    this.#tokens = Math.min(20, this.#tokens + 0.1);
  }

  spend(): boolean {
    this.#tokens = Math.max(0, this.#tokens - 1);
    return this.#tokens >= 10;
  }
}
