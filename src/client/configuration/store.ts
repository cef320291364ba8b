import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Transport } from "@connectrpc/connect";
import {
  type ConfigurationItem,
  type ConfigurationItemSchema,
  Runtime,
} from "../../../gen/runtime/configuration_pb.js";
import { checkedName, checkOptions, checkType } from "../../lib/checks.js";
import { checkedNames } from "../../lib/name-lists.js";
import { quote } from "../../lib/quote.js";
import { generatedClient } from "../generated-client.js";
import { type OpenConfiguration, type OpenConfigurationOptions, openConfiguration } from "./open.js";

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

/** What createConfiguration() gives, all of it. */
export function configurationStore(
  transport: Transport,
  name: string,
  { appId = "", group = "", label = "" }: ConfigurationOptions,
): ConfigurationStore {
  const cannot = (what: string) => `Cannot ${what} configuration store ${quote(name)}`;
  const client = generatedClient(Runtime, transport);
  const place = { storeName: name, appId, group, label };

  return {
    async get(names, call = {}) {
      const what = cannot("read");
      checkOptions(what, call);
      const keys = names === undefined ? undefined : checkedNames(`${what}: keys`, names);
      // No keys on the wire are the whole group.
      if (keys?.length === 0) return new Map();
      const { items } = await client.getConfiguration({ ...place, keys: keys ?? [] }, call);
      // A server that keeps empty content means the same by it: no value.
      return new Map(items.filter(({ content }) => content !== "").map((item) => [item.key, item]));
    },

    async save(given, call = {}) {
      const what = cannot("save to");
      checkOptions(what, call);
      checkType(what, "items", "object", given);
      const pairs = () =>
        Object.entries(given).map(([key, content]) => ({ key, content: content as string }));
      const several: readonly ConfigurationItemInit[] = isSeveral(given) ? given : pairs();
      if (several.length === 0) return;
      // Not by map(), which passes over holes.
      const items = Array.from(several, (item) => {
        checkType(what, "each item", "object", item);
        checkedName(`${what}: the key`, item.key);
        checkType(`${what}: ${quote(item.key)}`, "content", "string", item.content);
        return { ...item, group: item.group || group, label: item.label || label };
      });
      await client.saveConfiguration({ storeName: name, appId, items }, call);
    },

    async delete(names, call = {}) {
      const what = cannot("delete from");
      checkOptions(what, call);
      const keys = checkedNames(`${what}: keys`, names);
      if (keys.length === 0) return;
      await client.deleteConfiguration({ ...place, keys }, call);
    },

    open: async (options = {}) => openConfiguration({ transport, client, place }, options),
  };
}

const isSeveral = (items: object): items is readonly ConfigurationItemInit[] => Array.isArray(items);
