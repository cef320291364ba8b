import { type CallOptions, Code } from "@connectrpc/connect";
import { jitteredMs } from "../lib/backoff.js";
import { deadline } from "../rpc/deadline.js";
import { sleep } from "../rpc/sleep.js";
import { conflictIn, hasCode } from "./errors/facts.js";
import { unreadableIn } from "./errors/unreadable.js";

/**
 * Runs `prepare` and then the write that it gives; on a conflict of the write, backs off and does both again, at most
 * `maxAttempts` times. `prepare` is given the call options of each call, which share the deadline of `call`.
 */
export async function retryOnConflict<T>(
  what: string,
  { call, maxAttempts }: { call: CallOptions; maxAttempts: number },
  prepare: (left: () => CallOptions) => Promise<() => Promise<T>>,
): Promise<T> {
  const left = deadline(call, what);
  for (let attempt = 1; ; attempt++) {
    const write = await prepare(left);
    try {
      return await write();
    } catch (error) {
      // A newer holder of the lock does not go away: there is nothing to try again.
      const fenced = conflictIn(error)?.fence !== undefined;
      if (!hasCode(error, Code.Aborted) || fenced || attempt >= maxAttempts) throw error;
    }
    await sleep(jitteredMs({ minMs: 5, maxMs: 500 }, attempt), call.signal);
  }
}

/** The value of `entry`, undefined where there is none, or where it cannot be decoded and is to be replaced. */
export function readValue<V>(entry: { value: V } | undefined, replaceUnreadable = false): V | undefined {
  try {
    return entry?.value;
  } catch (error) {
    if (replaceUnreadable && unreadableIn(error)) return undefined;
    throw error;
  }
}
