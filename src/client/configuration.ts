import type { Transport } from "@connectrpc/connect";
import { checkedName, checkOptions } from "../lib/checks.js";
import type { ConfigurationOptions, ConfigurationStore } from "./configuration/store.js";
import { lazyMethods } from "./lazy.js";

export type { ConfigurationItem } from "../../gen/runtime/configuration_pb.js";
export type { ValueChange as ConfigurationChange } from "./configuration/live-values.js";
export type { OpenConfiguration, OpenConfigurationOptions } from "./configuration/open.js";
export type {
  ConfigurationItemInit,
  ConfigurationOptions,
  ConfigurationStore,
} from "./configuration/store.js";

/**
 * The configuration store that the server calls `name`. Costs nothing: the first call goes to the server, and the code for
 * it is loaded then.
 */
export function createConfiguration(
  transport: Transport,
  name: string,
  options: ConfigurationOptions = {},
): ConfigurationStore {
  const what = "the configuration store";
  checkedName(what, name);
  checkOptions(what, options, { appId: "string", group: "string", label: "string" });
  for (const text of [options.appId, options.group, options.label]) if (text) checkedName(what, text);
  const store = lazyMethods(
    ({ configurationStore }) => configurationStore(transport, name, options),
    ["get", "save", "delete", "open"],
  );
  return {
    ...store,
    // Copied before the code is loaded: a change of an item after the call must not be part of it.
    save: async (items, options) =>
      store.save(Array.isArray(items) ? Array.from(items, copyOf) : copyOf(items), options),
  };
}

const copyOf = <T>(item: T): T => (item && typeof item === "object" ? { ...item } : item);
