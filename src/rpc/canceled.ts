import { Code, ConnectError } from "@connectrpc/connect";

/** What to throw where `signal` ended a wait: as Connect's own calls do, `Code.Canceled` unless it says another. */
export function canceled(signal: AbortSignal): ConnectError {
  return signal.reason instanceof ConnectError
    ? signal.reason
    : ConnectError.from(signal.reason, Code.Canceled);
}
