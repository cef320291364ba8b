import { type CallOptions, Code, ConnectError } from "@connectrpc/connect";

/**
 * One deadline for an operation of several calls: each of them is given what is left of `timeoutMs`. Fails with
 * `Code.DeadlineExceeded` once nothing is left.
 */
export function deadline<O extends CallOptions>(call: O, what: string): () => O {
  const { timeoutMs } = call;
  // Connect takes 0 and less for no deadline at all.
  if (timeoutMs === undefined || timeoutMs <= 0) return () => call;
  const endsAtMs = Date.now() + timeoutMs;
  return () => {
    const leftMs = endsAtMs - Date.now();
    if (leftMs > 0) return { ...call, timeoutMs: leftMs };
    throw new ConnectError(`${what}: not done after ${timeoutMs} ms`, Code.DeadlineExceeded);
  };
}
