import { Code, ConnectError } from "@connectrpc/connect";
import { onAbort } from "../../lib/on-abort.js";
import type { ConnectionStatus } from "./connection-status.js";

/**
 * A signal for one attempt to connect and the delay after it. Until `release` is called it aborts with `outer`, and
 * with `unavailable` when the network changes, because the connection may then be lost.
 */
export function attemptOf(
  status: ConnectionStatus,
  outer?: AbortSignal,
): { signal: AbortSignal; release: () => void } {
  const attempt = new AbortController();
  const changed = () => attempt.abort(new ConnectError("the network has changed", Code.Unavailable));
  const stopListening = onAbort(outer, () => attempt.abort(outer?.reason));
  const stopProbe = status.onNetworkChange(changed);
  const release = () => {
    stopListening();
    stopProbe();
  };
  return { signal: attempt.signal, release };
}
