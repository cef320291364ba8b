import { MethodOptions_IdempotencyLevel as Level } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { type Backoff, jitteredMs } from "../lib/backoff.js";
import { checkOptions } from "../lib/checks.js";
import { checkedCount, checkedMs } from "../lib/count-checks.js";
import { lostToOther } from "../rpc/lost-to-other.js";
import { mayRepeat } from "../rpc/repeatable.js";
import { sleep } from "../rpc/sleep.js";
import { lazyChunk } from "./lazy.js";
import { normalizeError } from "./normalize-error.js";

/** Which calls are retried, and how often. */
export interface RetryOptions {
  /** The number of attempts for one call, including the first; Infinity: no limit. Default: 4. */
  maxAttempts?: number;
  /** The upper limit of the first delay, in milliseconds; it doubles with each attempt. Default: 50. */
  minDelayMs?: number;
  /** The longest delay, in milliseconds, unless the server asks for a longer one. Default: 2000. */
  maxDelayMs?: number;
  /**
   * The calls that are sent again after their answer was lost. "safe": reads, and writes whose condition lets them
   * happen only once. "all": every unary call, if it does no harm that a call happens twice. Default: "safe".
   */
  calls?: "safe" | "all";
}

/**
 * A transport that retries unary calls while the server is unavailable, if that is safe. createClient() uses it by
 * default.
 *
 * @example
 * ```ts
 * import { createState, withRetry } from "fairlead";
 * import { createWebTransport } from "fairlead/web";
 *
 * const transport = withRetry(createWebTransport("http://localhost:34904"), { maxAttempts: 6 });
 * await createState(transport, "default").set("greeting", "hello");
 * ```
 */
export function withRetry(transport: Transport, options: RetryOptions = {}): Transport {
  const failure = "Cannot retry";
  checkOptions(failure, options, { calls: ["safe", "all"] });
  const { maxAttempts = 4, minDelayMs = 50, maxDelayMs = 2000, calls = "safe" } = options;
  checkedCount(failure, "maxAttempts", maxAttempts);
  checkedMs(failure, "minDelayMs", minDelayMs);
  checkedMs(failure, "maxDelayMs", maxDelayMs);
  const backoff: Backoff = { minMs: minDelayMs, maxMs: maxDelayMs };
  // Limits the share of retries, so that they do not overload a server that is down: each failure costs a token, ten
  // successes earn one, up to 20, and below 10 nothing is retried.
  let tokens = 20;
  return {
    async unary(method, signal, timeoutMs, header, input, values) {
      const repeat = values?.get(mayRepeat) ?? "no";
      const isSafe = repeat !== "no" || calls === "all" || method.idempotency !== Level.IDEMPOTENCY_UNKNOWN;
      // For Connect, 0 and less mean no deadline.
      const endsAtMs = timeoutMs !== undefined && timeoutMs > 0 ? Date.now() + timeoutMs : NEVER_MS;
      let firstError: unknown;
      for (let attempt = 1; ; attempt++) {
        const remainingMs = endsAtMs === NEVER_MS ? timeoutMs : Math.max(1, endsAtMs - Date.now());
        try {
          const response = await transport.unary(method, signal, remainingMs, header, input, values);
          tokens = Math.min(20, tokens + 0.1);
          return response;
        } catch (caught) {
          const error = await normalizeError(caught);
          const code = error instanceof ConnectError ? error.code : undefined;
          // The conflict may be the effect of the first attempt, whose answer was lost.
          if (firstError !== undefined && repeat === "once" && code === Code.Aborted) throw firstError;
          firstError ??= error;
          if (code !== Code.Unavailable || !isSafe || attempt >= maxAttempts) throw error;
          if (!lostToOther.has(error as ConnectError)) {
            tokens = Math.max(0, tokens - 1);
            if (tokens < 10) throw error;
          }
          const waitMs = Math.max(jitteredMs(backoff, attempt), await serverDelayMs(error));
          // A delay past the deadline would replace this error by "deadline exceeded".
          if (Date.now() + waitMs >= endsAtMs) throw error;
          await sleep(waitMs, signal);
        }
      }
    },
    stream: (...args) => transport.stream(...args),
  };
}

const NEVER_MS = Number.POSITIVE_INFINITY;

/**
 * The delay that the server asks for; without end if another server is the one to ask. Loads the code that reads it only
 * if the error has details.
 */
async function serverDelayMs(error: unknown): Promise<number> {
  if (!(error instanceof ConnectError) || error.details.length === 0) return 0;
  try {
    return (await lazyChunk()).retryWaitMs(error);
  } catch {
    return 0;
  }
}
