import { Code, ConnectError } from "@connectrpc/connect";

/** The error of a wait that `signal` aborted: its reason, with `Code.Canceled` unless that is a ConnectError. */
export function canceled(signal: AbortSignal): ConnectError {
  return signal.reason instanceof ConnectError
    ? signal.reason
    : ConnectError.from(signal.reason, Code.Canceled);
}
