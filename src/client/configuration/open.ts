/// <reference lib="esnext.disposable" preserve="true" />
import { type CallOptions, Code, ConnectError } from "@connectrpc/connect";
import { checkOptions } from "../../lib/checks.js";
import { checkedMs } from "../../lib/count-checks.js";
import { asyncDispose } from "../../lib/dispose.js";
import { checkedNames } from "../../lib/name-lists.js";
import { onAbort } from "../../lib/on-abort.js";
import { quote } from "../../lib/quote.js";
import { runAfter } from "../../lib/timer.js";
import { canceled } from "../../rpc/canceled.js";
import { openFor } from "../client-lifetime.js";
import { ConnectionStatus } from "../status/connection-status.js";
import type { Status } from "../status.js";
import { type Followed, followConfiguration, mayPass } from "./follow.js";
import { LiveValues, type ValueChange } from "./live-values.js";

/** What to follow, and what holds until it is known. */
export interface OpenConfigurationOptions<K extends string, F> extends CallOptions {
  /** The keys to follow. Default: the whole group, with keys added later. */
  keys?: readonly K[];
  /**
   * Values for keys that have none. With it, open() resolves also while the server cannot be reached, and goes on
   * trying in the background.
   */
  fallback?: F;
  /** How long to wait for the first values, in milliseconds. Default: 5000 with a `fallback`, else no limit. */
  timeoutMs?: number;
  /** How often values are read again where changes may not be told, in milliseconds. Default: 10 000. */
  pollMs?: number;
  /** Aborting gives up opening; once open, it closes, and loops over changes() throw. */
  signal?: AbortSignal;
}

/** Settings that follow the server's. */
export interface OpenConfiguration<K extends string = string, F = unknown> extends AsyncDisposable {
  /** The values as they are now, without asking the server. A frozen object: after a change it is another one. */
  readonly current: { readonly [key in K]?: string } & { readonly [key in keyof F]: string };
  /**
   * Every change from this call on; one that falls far behind is told the last one of each key. Only what really is
   * another value comes, also after a lost connection. It ends with close(), and fails where the server refuses for
   * good; `current` then stays as it was.
   */
  changes(options?: { signal?: AbortSignal }): AsyncIterableIterator<ValueChange, undefined, undefined>;
  /** The connection to the server; "closed" also where the server refused for good. */
  readonly status: Status;
  /** Stops following. Idempotent. */
  close(): Promise<void>;
}

/** Reads the values of a store and follows them until what it gives is closed. */
export async function openConfiguration<K extends string, F extends Readonly<Record<string, string>>>(
  store: Pick<Followed, "transport" | "client" | "place">,
  options: OpenConfigurationOptions<K, F>,
): Promise<OpenConfiguration<K, F>> {
  const what = `Cannot open configuration store ${quote(store.place.storeName)}`;
  checkOptions(what, options, { fallback: "texts", pollMs: "number" });
  const { keys, fallback, timeoutMs, pollMs = 10_000, signal, ...call } = options;
  if (keys !== undefined) checkedNames(`${what}: keys`, keys);
  if (keys?.length === 0) {
    throw new RangeError(`${what}: keys must not be empty; without them it is the whole group`);
  }
  checkedMs(what, "pollMs", pollMs, { least: 1 });
  const over = new AbortController();
  const unregister = openFor(store.transport, () => close());
  const stopListening = onAbort(signal, () => over.abort());
  const status = new ConnectionStatus().begin();
  const values = new LiveValues(fallback);
  const first = begin(what, timeoutMs ?? (fallback && 5000));
  const ended = followConfiguration({ ...store, keys, pollMs, call }, values, {
    signal: over.signal,
    status,
    onValues: first.resolve,
    onFailure: first.reject,
  }).catch((error: unknown) => {
    const why = signal?.aborted ? canceled(signal) : error;
    const isClosed = over.signal.aborted && !signal?.aborted;
    stopListening();
    unregister();
    status.close(isClosed ? undefined : why);
    values.end(isClosed ? {} : { error: why });
    first.reject(why);
  });
  const close = () => {
    over.abort();
    return ended;
  };
  try {
    await first.promise;
  } catch (error) {
    if (!fallback || !mayPass(error) || signal?.aborted) {
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

/** A promise to be settled from elsewhere, at the latest after `timeoutMs`. */
function begin(what: string, timeoutMs: number | undefined) {
  let resolve = () => {};
  let reject = (_error: unknown) => {};
  let stop = () => {};
  const promise = new Promise<void>((done, failed) => {
    resolve = done;
    reject = failed;
  }).finally(() => stop());
  // Whether anyone still waits when it fails is not known here.
  promise.catch(() => {});
  if (timeoutMs !== undefined && timeoutMs > 0) {
    const late = new ConnectError(`${what}: no values after ${timeoutMs} ms`, Code.DeadlineExceeded);
    stop = runAfter(timeoutMs, () => reject(late));
  }
  return { promise, resolve, reject };
}
