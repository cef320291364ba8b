import { type CallOptions, type Client, Code, ConnectError, type Transport } from "@connectrpc/connect";
import type { ConfigurationItem, Runtime } from "../../../gen/runtime/configuration_pb.js";
import { abortOnBreak } from "../../lib/abort-on-break.js";
import { type Backoff, jitteredMs } from "../../lib/backoff.js";
import { withOnHeader } from "../../rpc/call-headers.js";
import { canceled } from "../../rpc/canceled.js";
import { sleep } from "../../rpc/sleep.js";
import { createTokenRefreshCheck } from "../../rpc/token-refresh.js";
import { retryDelayMs } from "../errors/facts.js";
import { hasExtensions } from "../server-extensions.js";
import { attemptOf } from "../status/attempt.js";
import type { ConnectionStatus } from "../status/connection-status.js";
import type { LiveValues } from "./live-values.js";
import { sharedSubscription } from "./shared-subscription.js";

const BACKOFF: Backoff = { minMs: 100, maxMs: 10_000 };

/** The longest that one reading of all values may take before it is tried anew, in milliseconds. */
const READ_MS = 10_000;

/** What will not go away by waiting. */
const FOR_GOOD = new Set([
  Code.InvalidArgument,
  Code.NotFound,
  Code.PermissionDenied,
  Code.FailedPrecondition,
  Code.OutOfRange,
  Code.Unimplemented,
  Code.Unauthenticated,
]);

/** Whether the same call may succeed later. */
export const mayPass = (error: unknown): boolean =>
  error instanceof ConnectError && !FOR_GOOD.has(error.code);

/** Which items are followed, and how. */
export interface Followed {
  transport: Transport;
  client: Client<typeof Runtime>;
  /** What a request says. */
  place: { storeName: string; appId: string; group: string; label: string };
  /** Undefined: the whole group. */
  keys: readonly string[] | undefined;
  pollMs: number;
  call: CallOptions;
}

/** Until when, and who is told how it goes. */
interface Following {
  signal: AbortSignal;
  status: ConnectionStatus;
  onValues(): void;
  onFailure(error: unknown): void;
}

/**
 * Keeps `values` as the server has them until `signal` aborts, through lost connections. A Fairlead server tells
 * everything on one stream: first all values, then each change. Another server may send no values at first, forget
 * deletions, or fall silent when a stream of someone else ends; there, and where the transport cannot carry the stream,
 * the values are read again every `pollMs` as well. `onValues` is called whenever they are known to be the server's,
 * `onFailure` with each error that the next try may mend. Rejects with one that none will. `status` is told as well.
 */
export async function followConfiguration(
  { transport, client, place, keys, pollMs, call }: Followed,
  values: LiveValues,
  { signal, status, onValues, onFailure }: Following,
): Promise<void> {
  const wanted = keys && new Set(keys);
  const request = { ...place, keys: keys ? [...keys] : [] };
  const contents = (items: readonly ConfigurationItem[]) =>
    items
      .filter(({ key }) => wanted?.has(key) ?? key !== "")
      // Empty content is a deletion, or on a server that keeps it: no value.
      .map(({ key, content }) => [key, content === "" ? undefined : content] as const);
  const all = (items: readonly ConfigurationItem[]) =>
    new Map(contents(items).filter((pair): pair is readonly [string, string] => pair[1] !== undefined));

  const stream = (signal: AbortSignal, headers = new Headers(call.headers)) =>
    abortOnBreak((signal) => {
      const options = withOnHeader({ ...call, headers, timeoutMs: 0, signal }, () => status.connected());
      return client.subscribeConfiguration(heldOpen(request, signal), options);
    }, signal);

  /** A stream that begins with all values. */
  const listen = async (signal: AbortSignal, known: () => void) => {
    let begun = false;
    const headers = new Headers(call.headers);
    // Also where there is nothing yet, and nothing any more: else there would be no telling when that is known.
    headers.set("fairlead-initial", "true");
    for await (const { storeName, items } of stream(signal, headers)) {
      if (storeName === "") continue;
      if (begun) values.set(contents(items));
      else values.replace(all(items));
      begun = true;
      known();
    }
  };

  /** Reads all values now and then. What a stream tells while a reading is on its way, into `told`, is newer. */
  const readings = async function* (signal: AbortSignal, told: Set<string>) {
    while (true) {
      told.clear();
      const { items } = await client.getConfiguration(request, { ...call, timeoutMs: READ_MS, signal });
      values.replace(all(items), told);
      yield;
      await sleep(pollMs, signal);
    }
  };

  // With headers or context values of its own, a call cannot go over the stream of another.
  const isPlain = Object.values(call).every((value) => value === undefined);
  const heard = (signal: AbortSignal) =>
    isPlain ? sharedSubscription({ transport, client }, request, signal) : stream(signal);

  /** A stream of changes that may come or not. */
  const overhear = async (outer: AbortSignal, told: Set<string>) => {
    await again(outer, status, mayPass, async (signal, known) => {
      for await (const { items } of heard(signal)) {
        const news = contents(items);
        for (const [key] of news) told.add(key);
        values.set(news);
        known();
      }
    });
  };

  const goOn = (error: unknown) => {
    if (!mayPass(error)) return false;
    status.disconnected(error);
    onFailure(error);
    return true;
  };
  await again(signal, status, goOn, async (signal, reached) => {
    const known = () => {
      reached();
      status.connected();
      onValues();
    };
    const whole = await hasExtensions(transport, signal);
    if (whole) {
      try {
        return await listen(signal, known);
      } catch (error) {
        if (!(error instanceof ConnectError) || error.code !== Code.Unimplemented) throw error;
      }
    }
    const poll = (signal: AbortSignal) => {
      const told = new Set<string>();
      if (!whole) overhear(signal, told).catch(() => {});
      return readings(signal, told);
    };
    for await (const _read of abortOnBreak(poll, signal)) known();
  });
}

/** Does `task` over and over until `outer` aborts, with growing waits while it does not call `reached`. */
async function again(
  outer: AbortSignal,
  status: ConnectionStatus,
  goOn: (error: unknown) => boolean,
  task: (signal: AbortSignal, reached: () => void) => Promise<void>,
): Promise<void> {
  const mayRenew = createTokenRefreshCheck();
  for (let failures = 1; ; failures++) {
    const { signal, release } = attemptOf(status, outer);
    try {
      let askedMs = 0;
      try {
        await task(signal, () => {
          failures = 0;
        });
      } catch (error) {
        if (!outer.aborted && mayRenew(error)) continue;
        if (outer.aborted || !goOn(error)) throw error;
        askedMs = retryDelayMs(error) ?? 0;
      }
      await sleep(Math.max(jitteredMs(BACKOFF, Math.max(1, failures)), askedMs), signal).catch(() => {});
      if (outer.aborted) throw canceled(outer);
    } finally {
      release();
    }
  }
}

/** One request on a stream that stays open: a Go runtime ends the subscription with the requests. */
async function* heldOpen<R>(request: R, signal: AbortSignal): AsyncGenerator<R> {
  yield request;
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}
