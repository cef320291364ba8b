import { type CallOptions, Code } from "@connectrpc/connect";
import { jitteredMs } from "../lib/backoff.js";
import { checkOptions, checkType } from "../lib/checks.js";
import { checkedCount } from "../lib/count-checks.js";
import { deadline } from "../rpc/deadline.js";
import { sleep } from "../rpc/sleep.js";
import { conflictIn, hasCode } from "./errors/facts.js";
import { unreadableIn } from "./errors/unreadable.js";

/** The options that state.update() and map.compute() share. */
export interface ConflictRetryOptions extends CallOptions {
  maxAttempts?: number;
  replaceUnreadable?: boolean;
}

/** How an entry is read and written. Each function is given the call options of its request. */
interface EntryAccess<V, E, R> {
  read(call: CallOptions): Promise<E | undefined>;
  /** The value of `entry`; throws if it cannot be decoded. */
  decode(entry: E): V;
  /** Writes `value` if `entry` is still the current one, else fails with `Code.Aborted`. */
  write(entry: E | undefined, value: V | undefined, call: CallOptions): Promise<R>;
}

/**
 * Reads an entry, calls `change` with its value, and writes the result. On a conflict, backs off and does all of it
 * again, at most `maxAttempts` times. All requests share the deadline of `options`. `failure` begins the error
 * messages.
 */
export async function retryOnConflict<V, E, R>(
  failure: string,
  change: (value: V | undefined) => V | undefined | Promise<V | undefined>,
  options: ConflictRetryOptions,
  { read, decode, write }: EntryAccess<V, E, R>,
): Promise<R> {
  checkOptions(failure, options, { replaceUnreadable: "boolean" });
  checkType(failure, "change", "function", change);
  const { maxAttempts = 20, replaceUnreadable = false, ...call } = options;
  checkedCount(failure, "maxAttempts", maxAttempts);
  const remainingCall = deadline(call, failure);
  for (let attempt = 1; ; attempt++) {
    const entry = await read(remainingCall());
    const value = await change(entry && readableValue(() => decode(entry), replaceUnreadable));
    try {
      return await write(entry, value, remainingCall());
    } catch (error) {
      // A fence conflict is final: the lock has been granted to a newer holder.
      const isFenced = conflictIn(error)?.fence !== undefined;
      if (!hasCode(error, Code.Aborted) || isFenced || attempt >= maxAttempts) throw error;
    }
    await sleep(jitteredMs({ minMs: 5, maxMs: 500 }, attempt), call.signal);
  }
}

/** The result of `read`; undefined if the value cannot be decoded and is to be replaced. */
function readableValue<V>(read: () => V, replaceUnreadable: boolean): V | undefined {
  try {
    return read();
  } catch (error) {
    if (replaceUnreadable && unreadableIn(error)) return undefined;
    throw error;
  }
}
