import { Code, ConnectError } from "@connectrpc/connect";
import { abortOnBreak } from "../../lib/abort-on-break.js";
import { type Backoff, jitteredMs } from "../../lib/backoff.js";
import { canceled } from "../../rpc/canceled.js";
import { sleep } from "../../rpc/sleep.js";
import { createTokenRefreshCheck } from "../../rpc/token-refresh.js";
import { retryDelayMs } from "../errors/facts.js";
import { attemptOf } from "../status/attempt.js";
import type { ConnectionStatus } from "../status/connection-status.js";

const BACKOFF: Backoff = { minMs: 100, maxMs: 10_000 };

/**
 * Streams what `open` yields, and opens it again when the connection is lost, until the loop is left, `signal` aborts
 * or the stream ends or fails in another way. `open` says where to go on: it is called anew each time. A call
 * that fails as `unavailable` before its first message is tried again as well. The wait before a try grows with each
 * failure, until a message comes or a stream lasts; it is never shorter than what the server asks for. Where the
 * token has expired and there is another one, it goes on at once. `status` is told what is found out; `open` may tell
 * earlier than by a message that the server answers.
 */
export async function* streamWithReconnect<T>(
  open: (signal: AbortSignal, connected: () => void) => AsyncIterable<T>,
  signal: AbortSignal,
  status: ConnectionStatus,
): AsyncGenerator<T, void, undefined> {
  const mayRenew = createTokenRefreshCheck();
  let failures = 0;
  while (true) {
    const openedMs = Date.now();
    const attempt = attemptOf(status, signal);
    const connected = () => status.connected();
    try {
      for await (const message of abortOnBreak((signal) => open(signal, connected), attempt.signal)) {
        failures = 0;
        connected();
        yield message;
      }
      return;
    } catch (error) {
      if (mayRenew(error)) continue;
      if (!(error instanceof ConnectError) || error.code !== Code.Unavailable) throw error;
      if (signal.aborted) throw canceled(signal);
      status.disconnected(error);
      // A stream that was open for long was a good one, also where it had nothing to tell.
      if (Date.now() - openedMs >= BACKOFF.maxMs) failures = 0;
      failures++;
      const waitMs = Math.max(jitteredMs(BACKOFF, failures), retryDelayMs(error) ?? 0);
      await sleep(waitMs, attempt.signal).catch(() => {});
      if (signal.aborted) throw canceled(signal);
    } finally {
      attempt.release();
    }
  }
}
