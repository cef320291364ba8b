import { Code, ConnectError } from "@connectrpc/connect";
import { type Backoff, jitteredMs } from "./backoff.js";
import { sleep } from "./timer.js";
import { untilLeft } from "./until-left.js";

const BACKOFF: Backoff = { minMs: 100, maxMs: 10_000 };

/**
 * Streams what `open` yields, and opens it again when the connection is lost, until the loop is left, `signal` aborts
 * or the stream ends or fails in another way. `open` says where to go on: it is called anew each time. A call
 * that fails as `unavailable` before its first message is tried again as well.
 */
export async function* resuming<T>(
  open: (signal: AbortSignal) => AsyncIterable<T>,
  signal?: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  for (let failures = 1; ; failures++) {
    try {
      for await (const message of untilLeft(open, signal)) {
        failures = 0;
        yield message;
      }
      return;
    } catch (error) {
      if (signal?.aborted || !(error instanceof ConnectError) || error.code !== Code.Unavailable) throw error;
    }
    await sleep(jitteredMs(BACKOFF, Math.max(1, failures)), signal);
  }
}
