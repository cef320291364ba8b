import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Transport } from "@connectrpc/connect";
import {
  type ConfigurationItem,
  type ConfigurationItemSchema,
  Runtime,
} from "../gen/runtime/configuration/spec/proto/runtime/v1/runtime_pb.js";
import { callsOf } from "./internal/calls.js";
import { loaded } from "./internal/later.js";
import type { OpenConfiguration, OpenConfigurationOptions } from "./internal/open-configuration.js";

export type { ConfigurationItem } from "../gen/runtime/configuration/spec/proto/runtime/v1/runtime_pb.js";

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

export type { ValueChange as ConfigurationChange } from "./internal/live-values.js";
export type { OpenConfiguration, OpenConfigurationOptions };

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

    async open(options = {}) {
      const { openConfiguration } = await loaded(import("./on-demand.js"));
      return openConfiguration({ transport, client, place }, options);
    },
  };
}

const isSeveral = (items: object): items is readonly ConfigurationItemInit[] => Array.isArray(items);
