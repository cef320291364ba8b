import type { Transport } from "@connectrpc/connect";
import { Runtime } from "../../../gen/runtime/configuration_pb.js";
import { checkedName, checkOptions, checkType } from "../../lib/checks.js";
import { checkedNames } from "../../lib/name-lists.js";
import { quote } from "../../lib/quote.js";
import type { ConfigurationItemInit, ConfigurationOptions, ConfigurationStore } from "../configuration.js";
import { generatedClient } from "../generated-client.js";
import { openConfiguration } from "./open.js";

/** The implementation of createConfiguration(). */
export function configurationStore(
  transport: Transport,
  name: string,
  { appId = "", group = "", label = "" }: ConfigurationOptions,
): ConfigurationStore {
  const cannot = (operation: string) => `Cannot ${operation} configuration store ${quote(name)}`;
  const client = generatedClient(Runtime, transport);
  const place = { storeName: name, appId, group, label };

  return {
    async get(names, call = {}) {
      const failure = cannot("read");
      checkOptions(failure, call);
      const keys = names === undefined ? undefined : checkedNames(`${failure}: keys`, names);
      // A request without keys reads the whole group.
      if (keys?.length === 0) return new Map();
      const { items } = await client.getConfiguration({ ...place, keys: keys ?? [] }, call);
      // Some servers keep items with empty content. They are deleted items too.
      return new Map(items.filter(({ content }) => content !== "").map((item) => [item.key, item]));
    },

    async save(given, call = {}) {
      const failure = cannot("save to");
      checkOptions(failure, call);
      checkType(failure, "items", "object", given);
      const pairs = () =>
        Object.entries(given).map(([key, content]) => ({ key, content: content as string }));
      const list: readonly ConfigurationItemInit[] = isList(given) ? given : pairs();
      if (list.length === 0) return;
      // Array.from(), not map(): map() skips holes.
      const items = Array.from(list, (item) => {
        checkType(failure, "each item", "object", item);
        checkedName(`${failure}: the key`, item.key);
        checkType(`${failure}: ${quote(item.key)}`, "content", "string", item.content);
        return { ...item, group: item.group || group, label: item.label || label };
      });
      await client.saveConfiguration({ storeName: name, appId, items }, call);
    },

    async delete(names, call = {}) {
      const failure = cannot("delete from");
      checkOptions(failure, call);
      const keys = checkedNames(`${failure}: keys`, names);
      if (keys.length === 0) return;
      await client.deleteConfiguration({ ...place, keys }, call);
    },

    open: async (options = {}) => openConfiguration({ transport, client, place }, options),
  };
}

const isList = (items: object): items is readonly ConfigurationItemInit[] => Array.isArray(items);
