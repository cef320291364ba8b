/// <reference lib="esnext.disposable" preserve="true" />
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Transport } from "@connectrpc/connect";
import type { ConfigurationItem, ConfigurationItemSchema } from "../../gen/runtime/configuration_pb.js";
import { checkedName, checkOptions } from "../lib/checks.js";
import { lazyMethods } from "./lazy.js";
import type { Status } from "./status.js";

export type { ConfigurationItem };

/** Selects items of a store: items of another application, group or label are separate, even with the same key. */
export interface ConfigurationOptions {
  /** The application that the items belong to. Default: "". */
  appId?: string;
  /** The group of the items. Default: "default". */
  group?: string;
  /** The label of the items. Default: "default". */
  label?: string;
}

/** An item to save: one that get() returned, changed or not, or a new one. Empty content deletes the item. */
export type ConfigurationItemInit = MessageInitShape<typeof ConfigurationItemSchema> & {
  /** Identifies the item within its group and label. */
  key: string;
  /** Its value; empty deletes the item. */
  content: string;
};

/** The settings of one application, group and label in a configuration store: strings by key. */
export interface ConfigurationStore {
  /** The items at `keys` that exist, in that order; without `keys` all of them. `GetConfiguration` */
  get(keys?: readonly string[], options?: CallOptions): Promise<ReadonlyMap<string, ConfigurationItem>>;
  /** Creates or replaces items, all or none; empty content deletes. `SaveConfiguration` */
  save(
    items: readonly ConfigurationItemInit[] | Readonly<Record<string, string>>,
    options?: CallOptions,
  ): Promise<void>;
  /** Deletes the items at `keys`; keys without an item are ignored. `DeleteConfiguration` */
  delete(keys: readonly string[], options?: CallOptions): Promise<void>;
  /**
   * Reads the values and follows them until the result is closed; it reconnects by itself. `SubscribeConfiguration`, or
   * `GetConfiguration` every `pollMs` if the transport cannot carry that stream.
   */
  open<K extends string = string, F extends Readonly<Record<string, string>> = Record<never, string>>(
    options?: OpenConfigurationOptions<K, F>,
  ): Promise<OpenConfiguration<K, F>>;
}

/** Options of `open()`. */
export interface OpenConfigurationOptions<K extends string, F> extends CallOptions {
  /** The keys to follow. Default: the whole group, with keys that are added later. */
  keys?: readonly K[];
  /**
   * Values for keys that are not set. With a fallback, open() resolves even while the server cannot be reached, and
   * connects in the background. Default: none.
   */
  fallback?: F;
  /** How long to wait for the first values, in milliseconds. Default: 5000 with a `fallback`, else no limit. */
  timeoutMs?: number;
  /** How often values are read again from a server that may not send every change, in milliseconds. Default: 10 000. */
  pollMs?: number;
  /** Aborting cancels open(); afterwards it closes the open configuration, and loops over changes() throw. */
  signal?: AbortSignal;
}

/** Settings that follow the server's. */
export interface OpenConfiguration<K extends string = string, F = unknown> extends AsyncDisposable {
  /** The current values, without a call to the server. A frozen object: a change replaces it. */
  readonly current: { readonly [key in K]?: string } & { readonly [key in keyof F]: string };
  /**
   * Every change of a value from this call on, including those that a lost connection delayed. A loop that falls far
   * behind gets only the latest change of each key. Ends with close(). Throws if the server refuses permanently;
   * `current` then keeps its values.
   */
  changes(options?: {
    signal?: AbortSignal;
  }): AsyncIterableIterator<ConfigurationChange, undefined, undefined>;
  /** The connection to the server; also "closed" if the server refused permanently. */
  readonly status: Status;
  /** Stops following. Idempotent. */
  close(): Promise<void>;
}

/** A change of one value. A key with a fallback has that as its value while it is not set. */
export type ConfigurationChange = {
  /** The key of the value. */
  key: string;
  /** The new value; undefined if it has none. */
  value: string | undefined;
  /** The value before; undefined if it had none. */
  previous: string | undefined;
};

/**
 * The configuration store that the server calls `name`. Makes no call; its code is loaded by the first one.
 *
 * @example
 * ```ts
 * import { createConfiguration } from "fairlead";
 * import { createWebTransport } from "fairlead/web";
 *
 * const store = createConfiguration(createWebTransport("http://localhost:34904"), "default");
 * await store.save({ theme: "dark" });
 * const settings = await store.open({ keys: ["theme"], fallback: { theme: "light" } });
 * console.log(settings.current.theme); // dark
 * await settings.close();
 * ```
 */
export function createConfiguration(
  transport: Transport,
  name: string,
  options: ConfigurationOptions = {},
): ConfigurationStore {
  const subject = "the configuration store";
  checkedName(subject, name);
  checkOptions(subject, options, { appId: "string", group: "string", label: "string" });
  for (const text of [options.appId, options.group, options.label]) if (text) checkedName(subject, text);
  const store = lazyMethods(
    ({ configurationStore }) => configurationStore(transport, name, options),
    ["get", "save", "delete", "open"],
  );
  return {
    ...store,
    // Copied before the code is loaded: a change of an item after the call must not be saved.
    save: async (items, options) =>
      store.save(Array.isArray(items) ? Array.from(items, copyOf) : copyOf(items), options),
  };
}

const copyOf = <T>(item: T): T => (item && typeof item === "object" ? { ...item } : item);
