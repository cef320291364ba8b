import { Code, ConnectError } from "@connectrpc/connect";
import { onAbort } from "../../lib/on-abort.js";
import type { ConnectionStatus } from "./connection-status.js";

/**
 * A signal for one attempt to be connected, and for the wait before the next one: it aborts as `outer` does, and as
 * `unavailable` when the network has changed, until `release` is called. A connection may be dead then.
 */
export function attemptOf(
  status: ConnectionStatus,
  outer?: AbortSignal,
): { signal: AbortSignal; release: () => void } {
  const attempt = new AbortController();
  const changed = () => attempt.abort(new ConnectError("the network has changed", Code.Unavailable));
  const stop = onAbort(outer, () => attempt.abort(outer?.reason));
  const forget = status.onNetworkChange(changed);
  const release = () => {
    stop();
    forget();
  };
  return { signal: attempt.signal, release };
}
