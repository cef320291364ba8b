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
 * Yields the items of `open`, and calls it again when the connection is lost or cannot be made, until the loop is left,
 * `signal` aborts, or the stream ends or fails for another reason. `open` must continue where it stopped. The delay
 * before a retry grows with each failure until a message arrives or a stream stays open; it is never shorter than the
 * server asks for. If the token has expired and there is a fresh one, there is no delay. `open` may call `connected`
 * before its first item.
 */
export async function* streamWithReconnect<T>(
  open: (signal: AbortSignal, connected: () => void) => AsyncIterable<T>,
  signal: AbortSignal,
  status: ConnectionStatus,
): AsyncGenerator<T, void, undefined> {
  const hasFreshToken = createTokenRefreshCheck();
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
      if (hasFreshToken(error)) continue;
      if (!(error instanceof ConnectError) || error.code !== Code.Unavailable) throw error;
      if (signal.aborted) throw canceled(signal);
      status.disconnected(error);
      // A stream that stayed open for long was a success, even without messages.
      if (Date.now() - openedMs >= BACKOFF.maxMs) failures = 0;
      failures++;
      const delayMs = Math.max(jitteredMs(BACKOFF, failures), retryDelayMs(error) ?? 0);
      await sleep(delayMs, attempt.signal).catch(() => {});
      if (signal.aborted) throw canceled(signal);
    } finally {
      attempt.release();
    }
  }
}
