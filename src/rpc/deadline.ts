import { type CallOptions, Code, ConnectError } from "@connectrpc/connect";

/**
 * One deadline for an operation of several calls. Returns a function that gives the options of each call, with the rest
 * of `timeoutMs`, or throws `Code.DeadlineExceeded` if no time is left.
 */
export function deadline<O extends CallOptions>(call: O, failure: string): () => O {
  const { timeoutMs } = call;
  // To Connect, 0 and less mean no deadline.
  if (timeoutMs === undefined || timeoutMs <= 0) return () => call;
  const endsAtMs = Date.now() + timeoutMs;
  return () => {
    const remainingMs = endsAtMs - Date.now();
    if (remainingMs > 0) return { ...call, timeoutMs: remainingMs };
    throw new ConnectError(`${failure}: not done after ${timeoutMs} ms`, Code.DeadlineExceeded);
  };
}
