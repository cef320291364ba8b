import { Code, ConnectError } from "@connectrpc/connect";
import { checkOptions } from "../../lib/checks.js";
import { checkedMs } from "../../lib/count-checks.js";
import { asyncDispose } from "../../lib/dispose.js";
import { checkedNames } from "../../lib/name-lists.js";
import { onAbort } from "../../lib/on-abort.js";
import { quote } from "../../lib/quote.js";
import { runAfter } from "../../lib/timer.js";
import { canceled } from "../../rpc/canceled.js";
import { openFor } from "../client-lifetime.js";
import type { OpenConfiguration, OpenConfigurationOptions } from "../configuration.js";
import { ConnectionStatus } from "../status/connection-status.js";
import { type FollowedItems, followConfiguration, isTransient } from "./follow.js";
import { LiveValues } from "./live-values.js";

/** Reads the values of a store and follows them until the result is closed. */
export async function openConfiguration<K extends string, F extends Readonly<Record<string, string>>>(
  store: Pick<FollowedItems, "transport" | "client" | "place">,
  options: OpenConfigurationOptions<K, F>,
): Promise<OpenConfiguration<K, F>> {
  const failure = `Cannot open configuration store ${quote(store.place.storeName)}`;
  checkOptions(failure, options, { fallback: "texts", pollMs: "number" });
  const { keys, fallback, timeoutMs, pollMs = 10_000, signal, ...call } = options;
  if (keys !== undefined) checkedNames(`${failure}: keys`, keys);
  if (keys?.length === 0) {
    throw new RangeError(`${failure}: keys must not be empty; without them it is the whole group`);
  }
  checkedMs(failure, "pollMs", pollMs, { least: 1 });
  const closed = new AbortController();
  const unregister = openFor(store.transport, () => close());
  const stopListening = onAbort(signal, () => closed.abort());
  const status = new ConnectionStatus().begin();
  const values = new LiveValues(fallback);
  const first = firstValues(failure, timeoutMs ?? (fallback && 5000));
  const ended = followConfiguration({ ...store, keys, pollMs, call }, values, {
    signal: closed.signal,
    status,
    onValues: first.resolve,
    onFailure: first.reject,
  }).catch((error: unknown) => {
    const reason = signal?.aborted ? canceled(signal) : error;
    const isClosed = closed.signal.aborted && !signal?.aborted;
    stopListening();
    unregister();
    status.close(isClosed ? undefined : reason);
    values.end(isClosed ? {} : { error: reason });
    first.reject(reason);
  });
  const close = () => {
    closed.abort();
    return ended;
  };
  try {
    await first.promise;
  } catch (error) {
    if (!fallback || !isTransient(error) || signal?.aborted) {
      await close();
      throw error;
    }
  }
  return {
    get current() {
      return values.current as OpenConfiguration<string, typeof fallback>["current"];
    },
    status,
    changes: ({ signal } = {}) => values.changes(signal),
    close,
    [asyncDispose]: close,
  };
}

/** A promise for the first values, with its settling functions. It rejects after `timeoutMs`. */
function firstValues(failure: string, timeoutMs: number | undefined) {
  let resolve = () => {};
  let reject = (_error: unknown) => {};
  let stop = () => {};
  const promise = new Promise<void>((done, failed) => {
    resolve = done;
    reject = failed;
  }).finally(() => stop());
  // Nobody may wait for it any more when it fails.
  promise.catch(() => {});
  if (timeoutMs !== undefined && timeoutMs > 0) {
    const expired = new ConnectError(`${failure}: no values after ${timeoutMs} ms`, Code.DeadlineExceeded);
    stop = runAfter(timeoutMs, () => reject(expired));
  }
  return { promise, resolve, reject };
}
