import type { MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, Code, ConnectError, type Transport } from "@connectrpc/connect";
import {
  type ConfigurationItem,
  type ConfigurationItemSchema,
  Runtime,
} from "../gen/spec/proto/runtime/v1/runtime_pb.js";
import { callsOf } from "./internal/calls.js";
import { canceled } from "./internal/canceled.js";
import { asyncDispose } from "./internal/dispose.js";
import { followConfiguration, mayPass } from "./internal/follow-configuration.js";
import { LiveValues, type ValueChange } from "./internal/live-values.js";
import { after } from "./internal/timer.js";

export type { ConfigurationItem } from "../gen/spec/proto/runtime/v1/runtime_pb.js";

/** Which items of a store are meant: each part is a room of its own. */
export interface ConfigurationOptions {
  /** The application that the items belong to. Default: "". */
  appId?: string;
  /** Default: "default". */
  group?: string;
  /** Default: "default". */
  label?: string;
}

/** An item to save: one that get() gave, changed or not, or a new one. Empty content deletes. */
export type ConfigurationItemInit = MessageInitShape<typeof ConfigurationItemSchema> & {
  /** Names the item within its group and label. */
  key: string;
  /** Its value; empty deletes the item. */
  content: string;
};

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

export type { ValueChange as ConfigurationChange };

/** Settings that follow the server's. */
export interface OpenConfiguration<K extends string = string, F = unknown> extends AsyncDisposable {
  /** The values as they are now, without asking the server. A frozen object: after a change it is another one. */
  readonly current: { readonly [key in K]?: string } & { readonly [key in keyof F]: string };
  /**
   * Every change from this call on; one that falls far behind is told the last one of each key. Only what really is
   * another value comes, also after a lost connection. It ends with close(), and fails where the server refuses for
   * good; `current` then stays as it was.
   */
  changes(options?: { signal?: AbortSignal }): AsyncIterable<ValueChange>;
  /** Stops following. Idempotent. */
  close(): Promise<void>;
}

/** The settings of one application, group and label in a configuration store: texts by key. */
export interface ConfigurationStore {
  /** The items at `keys` that are there, or all; by key, in the order asked for. `GetConfiguration` */
  get(keys?: readonly string[], options?: CallOptions): Promise<ReadonlyMap<string, ConfigurationItem>>;
  /** Creates or replaces items, all or none; empty content deletes. `SaveConfiguration` */
  save(
    items: readonly ConfigurationItemInit[] | Readonly<Record<string, string>>,
    options?: CallOptions,
  ): Promise<void>;
  /** Deletes the items at `keys`; one that is not there is no failure. `DeleteConfiguration` */
  delete(keys: readonly string[], options?: CallOptions): Promise<void>;
  /**
   * Reads the values and follows them until it is closed, through lost connections: `SubscribeConfiguration`, or
   * where fetch cannot carry that stream, `GetConfiguration` every `pollMs`.
   */
  open<K extends string = string, F extends Readonly<Record<string, string>> = Record<never, string>>(
    options?: OpenConfigurationOptions<K, F>,
  ): Promise<OpenConfiguration<K, F>>;
}

/** The configuration store that the server calls `name`. Costs nothing: the first call goes to the server. */
export function createConfiguration(
  transport: Transport,
  name: string,
  { appId = "", group = "", label = "" }: ConfigurationOptions = {},
): ConfigurationStore {
  const client = callsOf(Runtime, transport);
  const place = { storeName: name, appId, group, label };

  return {
    async get(keys, call) {
      // No keys on the wire are the whole group.
      if (keys?.length === 0) return new Map();
      const { items } = await client.getConfiguration({ ...place, keys: keys ? [...keys] : [] }, call);
      // A server that keeps empty content means the same by it: no value.
      return new Map(items.filter(({ content }) => content !== "").map((item) => [item.key, item]));
    },

    async save(given, call) {
      const pairs = () =>
        Object.entries(given).map(([key, content]) => ({ key, content: content as string }));
      const several: readonly ConfigurationItemInit[] = isSeveral(given) ? given : pairs();
      if (several.length === 0) return;
      const items = several.map((item) => ({
        ...item,
        group: item.group || group,
        label: item.label || label,
      }));
      await client.saveConfiguration({ storeName: name, appId, items }, call);
    },

    async delete(keys, call) {
      if (keys.length === 0) return;
      await client.deleteConfiguration({ ...place, keys: [...keys] }, call);
    },

    async open({ keys, fallback, timeoutMs, pollMs = 10_000, signal, ...call } = {}) {
      if (keys?.length === 0) {
        throw new RangeError(
          `Cannot open "${name}": keys must not be empty; without them it is the whole group`,
        );
      }
      if (!(pollMs > 0)) throw new RangeError(`Cannot open "${name}": pollMs must be above 0, got ${pollMs}`);
      const over = new AbortController();
      const giveUp = () => over.abort();
      if (signal?.aborted) giveUp();
      signal?.addEventListener("abort", giveUp, { once: true });
      const values = new LiveValues(fallback);
      const first = begin(`Cannot open "${name}"`, timeoutMs ?? (fallback && 5000));
      const ended = followConfiguration({ transport, client, place, keys, pollMs, call }, values, {
        signal: over.signal,
        onValues: first.resolve,
        onFailure: first.reject,
      }).catch((error: unknown) => {
        const why = signal?.aborted ? canceled(signal) : error;
        signal?.removeEventListener("abort", giveUp);
        values.end(over.signal.aborted && !signal?.aborted ? {} : { error: why });
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
        changes: ({ signal } = {}) => values.changes(signal),
        close,
        [asyncDispose]: close,
      };
    },
  };
}

const isSeveral = (items: object): items is readonly ConfigurationItemInit[] => Array.isArray(items);

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
    stop = after(timeoutMs, () => reject(late));
  }
  return { promise, resolve, reject };
}
