import { type CallOptions, type Client, Code, ConnectError, type Transport } from "@connectrpc/connect";
import type {
  ConfigurationItem,
  Runtime,
  SubscribeConfigurationResponse,
} from "../../../gen/runtime/configuration_pb.js";
import { abortOnBreak } from "../../lib/abort-on-break.js";
import { type Backoff, jitteredMs } from "../../lib/backoff.js";
import { withOnHeader } from "../../rpc/call-headers.js";
import { canceled } from "../../rpc/canceled.js";
import { INITIAL_HEADER } from "../../rpc/extension-headers.js";
import { sleep } from "../../rpc/sleep.js";
import { createTokenRefreshCheck } from "../../rpc/token-refresh.js";
import { hasCode, retryDelayMs } from "../errors/facts.js";
import { hasExtensions } from "../server-extensions.js";
import { attemptOf } from "../status/attempt.js";
import type { ConnectionStatus } from "../status/connection-status.js";
import type { LiveValues } from "./live-values.js";
import { sharedSubscription } from "./shared-subscription.js";

const BACKOFF: Backoff = { minMs: 100, maxMs: 10_000 };

/** The longest that one read of all values may take before it is retried, in milliseconds. */
const READ_MS = 10_000;

const PERMANENT_CODES = [
  Code.InvalidArgument,
  Code.NotFound,
  Code.PermissionDenied,
  Code.FailedPrecondition,
  Code.OutOfRange,
  Code.Unimplemented,
  Code.Unauthenticated,
];

/** Whether the same call may succeed later. */
export const isTransient = (error: unknown): boolean =>
  error instanceof ConnectError && !hasCode(error, ...PERMANENT_CODES);

/** The items to follow, and how to call the server for them. */
export interface FollowedItems {
  transport: Transport;
  client: Client<typeof Runtime>;
  /** The fields of each request that select the group. */
  place: { storeName: string; appId: string; group: string; label: string };
  /** Undefined: the whole group. */
  keys: readonly string[] | undefined;
  pollMs: number;
  call: CallOptions;
}

/** How long to follow, and the callbacks. */
interface Following {
  signal: AbortSignal;
  status: ConnectionStatus;
  /** Called whenever the values are known to be the server's. */
  onValues(): void;
  /** Called with each error that a retry may overcome. */
  onFailure(error: unknown): void;
}

/** Called when an attempt has reached the server, and its failures count from zero again. */
type OnReached = () => void;

/**
 * Keeps `values` equal to the server's until `signal` aborts; it reconnects by itself. Rejects with an error that no
 * retry can overcome.
 */
export async function followConfiguration(
  items: FollowedItems,
  values: LiveValues,
  { signal, status, onValues, onFailure }: Following,
): Promise<void> {
  const source = new ConfigurationSource(items, values, status);
  const shouldRetry = (error: unknown) => {
    if (!isTransient(error)) return false;
    status.disconnected(error);
    onFailure(error);
    return true;
  };
  await repeat(signal, status, shouldRetry, (signal, onReached) =>
    source.follow(signal, () => {
      onReached();
      status.connected();
      onValues();
    }),
  );
}

/**
 * Reads configuration into `values` from a server of any kind. A Fairlead server sends all values and then each change
 * on one stream. Another server may send no values at first, leave out deletions, or fall silent when another client's
 * stream ends: its values are also read again every `pollMs`, as over a transport that cannot carry the stream.
 */
class ConfigurationSource {
  readonly #items: FollowedItems;
  readonly #request: FollowedItems["place"] & { keys: string[] };
  readonly #wantedKeys: ReadonlySet<string> | undefined;
  readonly #values: LiveValues;
  readonly #status: ConnectionStatus;

  constructor(items: FollowedItems, values: LiveValues, status: ConnectionStatus) {
    this.#items = items;
    this.#request = { ...items.place, keys: items.keys ? [...items.keys] : [] };
    this.#wantedKeys = items.keys && new Set(items.keys);
    this.#values = values;
    this.#status = status;
  }

  /**
   * Follows until the connection is lost or `signal` aborts; calls `onValues` each time that the values are current.
   */
  async follow(signal: AbortSignal, onValues: OnReached): Promise<void> {
    const isFairlead = await hasExtensions(this.#items.transport, signal);
    if (isFairlead) {
      try {
        return await this.#followStream(signal, onValues);
      } catch (error) {
        // The transport cannot carry the stream.
        if (!hasCode(error, Code.Unimplemented)) throw error;
      }
    }
    const poll = (signal: AbortSignal) => {
      const changedKeys = new Set<string>();
      if (!isFairlead) this.#applyChanges(signal, changedKeys).catch(() => {});
      return this.#poll(signal, changedKeys);
    };
    for await (const _read of abortOnBreak(poll, signal)) onValues();
  }

  /** Reads a stream that begins with all values. */
  async #followStream(signal: AbortSignal, onValues: OnReached): Promise<void> {
    let isFirst = true;
    const headers = new Headers(this.#items.call.headers);
    // Without it a group that is empty, or has become empty, would have no first answer.
    headers.set(INITIAL_HEADER, "true");
    for await (const { storeName, items } of this.#subscribe(signal, headers)) {
      if (storeName === "") continue;
      if (isFirst) this.#values.replace(this.#valuesOf(items));
      else this.#values.set(this.#contentsOf(items));
      isFirst = false;
      onValues();
    }
  }

  /** Reads all values every `pollMs`. `changedKeys` are newer than a read that was under way, so they are kept. */
  async *#poll(signal: AbortSignal, changedKeys: Set<string>): AsyncGenerator<void, void, undefined> {
    const { client, call, pollMs } = this.#items;
    while (true) {
      changedKeys.clear();
      const { items } = await client.getConfiguration(this.#request, { ...call, timeoutMs: READ_MS, signal });
      this.#values.replace(this.#valuesOf(items), changedKeys);
      yield;
      await sleep(pollMs, signal);
    }
  }

  /** Applies changes from a stream that may leave some out, and adds their keys to `changedKeys`. */
  async #applyChanges(signal: AbortSignal, changedKeys: Set<string>): Promise<void> {
    // A call with its own headers or context values cannot share the stream of another.
    const canShare = Object.values(this.#items.call).every((value) => value === undefined);
    await repeat(signal, this.#status, isTransient, async (signal, onReached) => {
      const responses = canShare
        ? sharedSubscription(this.#items, this.#request, signal)
        : this.#subscribe(signal);
      for await (const { items } of responses) {
        const contents = this.#contentsOf(items);
        for (const [key] of contents) changedKeys.add(key);
        this.#values.set(contents);
        onReached();
      }
    });
  }

  #subscribe(
    signal: AbortSignal,
    headers = new Headers(this.#items.call.headers),
  ): AsyncGenerator<SubscribeConfigurationResponse, void, undefined> {
    const { client, call } = this.#items;
    return abortOnBreak((signal) => {
      const options = withOnHeader({ ...call, headers, timeoutMs: 0, signal }, () =>
        this.#status.connected(),
      );
      return client.subscribeConfiguration(requestThenWait(this.#request, signal), options);
    }, signal);
  }

  /** The contents of the items that are followed; undefined for one that is deleted. */
  #contentsOf(items: readonly ConfigurationItem[]): (readonly [string, string | undefined])[] {
    return (
      items
        .filter(({ key }) => this.#wantedKeys?.has(key) ?? key !== "")
        // Empty content is a deletion; a server that keeps such an item means no value by it.
        .map(({ key, content }) => [key, content === "" ? undefined : content] as const)
    );
  }

  #valuesOf(items: readonly ConfigurationItem[]): Map<string, string> {
    const isSet = (pair: readonly [string, string | undefined]): pair is readonly [string, string] =>
      pair[1] !== undefined;
    return new Map(this.#contentsOf(items).filter(isSet));
  }
}

/** Runs `task` again and again until `outer` aborts, with a wait that grows until `task` calls `onReached`. */
async function repeat(
  outer: AbortSignal,
  status: ConnectionStatus,
  shouldRetry: (error: unknown) => boolean,
  task: (signal: AbortSignal, onReached: OnReached) => Promise<void>,
): Promise<void> {
  const hasFreshToken = createTokenRefreshCheck();
  for (let failures = 1; ; failures++) {
    const { signal, release } = attemptOf(status, outer);
    try {
      let serverDelayMs = 0;
      try {
        await task(signal, () => {
          failures = 0;
        });
      } catch (error) {
        if (!outer.aborted && hasFreshToken(error)) continue;
        if (outer.aborted || !shouldRetry(error)) throw error;
        serverDelayMs = retryDelayMs(error) ?? 0;
      }
      const delayMs = Math.max(jitteredMs(BACKOFF, Math.max(1, failures)), serverDelayMs);
      await sleep(delayMs, signal).catch(() => {});
      if (outer.aborted) throw canceled(outer);
    } finally {
      release();
    }
  }
}

/** One request on a stream that stays open: a Go runtime ends the subscription when the requests end. */
async function* requestThenWait<R>(request: R, signal: AbortSignal): AsyncGenerator<R> {
  yield request;
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}
