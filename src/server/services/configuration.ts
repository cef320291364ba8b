import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type ConfigurationItem,
  ConfigurationItemSchema,
  type Runtime,
  type SubscribeConfigurationRequest,
  type SubscribeConfigurationResponseSchema,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { MergedStream } from "../../lib/merge-streams.js";
import { quote } from "../../lib/quote.js";
import { canceled } from "../../rpc/canceled.js";
import { INITIAL_HEADER } from "../../rpc/extension-headers.js";
import type { ServiceContext } from "../context.js";
import type { Change, Entry, KeyStore, Write } from "../engine.js";
import { exhausted, unavailable } from "../errors.js";
import { Followed } from "./configuration/followed.js";
import { under } from "./shared/keyspace.js";

type ConfigurationMethods = Pick<
  ServiceImpl<typeof Runtime>,
  "getConfiguration" | "saveConfiguration" | "deleteConfiguration" | "subscribeConfiguration"
>;

/** What a group and a label are called that a request leaves out. */
const DEFAULT = "default";

/** Where a group of items is: what a request says beside the keys. */
type Place = { storeName: string; appId: string; group: string; label: string };

/** The configuration RPCs: items by store, app, group, label and key, each kept as the message that was saved. */
export function configurationService(context: ServiceContext): ConfigurationMethods {
  const { components, limits } = context;
  const { keys: store } = context.engine;

  /** The items of a group that are there, by the given keys or all; fails where they do not fit one answer. */
  const read = async (place: Place, keys: readonly string[]): Promise<Entry[]> => {
    const prefix = groupPrefix(place);
    const found: Entry[] = [];
    let bytes = 0;
    for await (const entry of keys.length > 0 ? picked(store, prefix, keys) : store.list(prefix)) {
      bytes += entry.value.length;
      if (bytes > limits.messageBytes) {
        const why = `the items of group ${quote(place.group || DEFAULT)} do not fit one answer: ask for some keys`;
        throw exhausted("messageBytes", limits.messageBytes, why);
      }
      found.push(entry);
    }
    return found;
  };

  return {
    async getConfiguration(place) {
      components.get("configuration", place.storeName);
      return { items: (await read(place, place.keys)).map(itemOf) };
    },

    async saveConfiguration({ storeName, appId, items }) {
      components.get("configuration", storeName);
      const writes = new Map<string, Write>();
      for (const item of items) {
        const key = groupPrefix({ storeName, appId, ...item }) + item.key;
        if (item.content === "") writes.set(key, { type: "delete", key });
        else writes.set(key, { type: "set", key, value: toBinary(ConfigurationItemSchema, complete(item)) });
      }
      await store.commit([...writes.values()]);
      return {};
    },

    async deleteConfiguration({ keys, ...place }) {
      components.get("configuration", place.storeName);
      const prefix = groupPrefix(place);
      const writes = [...new Set(keys)].map((key): Write => ({ type: "delete", key: prefix + key }));
      if (writes.length > 0) await store.commit(writes);
      return {};
    },

    async *subscribeConfiguration(requests, { requestHeader, signal }) {
      const wantsInitial = requestHeader.get(INITIAL_HEADER) === "true";
      const groups = new Map<string, Followed>();
      const inputs = new MergedStream<Input>(signal);
      let keyCount = 0;
      inputs.add(asked(requests));
      // One thing after the other: no change can slip between what a request was answered and what is told after it.
      for await (const { request, change, place, group } of inputs) {
        if (change) {
          const news = await group.news(change, store);
          if (news)
            yield response(place, [news.type === "set" ? itemOf(news.entry) : deleted(place, news.key)]);
          continue;
        }
        components.get("configuration", request.storeName);
        const prefix = groupPrefix(request);
        let followed = groups.get(prefix);
        if (!followed) {
          const most = limits.subscriptionGroups;
          if (groups.size === most)
            throw exhausted("subscriptionGroups", most, "the stream follows as many already");
          groups.set(prefix, (followed = new Followed()));
          // The changes are listened to before the values are read, so that none is missed in between.
          inputs.add(changesOf({ place: request, group: followed }, store.watch(prefix, signal), signal));
        }
        keyCount += followed.add(request.keys.map((key) => prefix + key));
        if (keyCount > limits.subscriptionKeys) {
          throw exhausted(
            "subscriptionKeys",
            limits.subscriptionKeys,
            `the stream asks for ${keyCount} in all`,
          );
        }
        const present = await read(request, request.keys);
        followed.told(present);
        // Existing clients take the first item of each response without looking whether there is one.
        if (present.length > 0 || wantsInitial) yield response(request, present.map(itemOf));
      }
      if (signal.aborted) throw canceled(signal);
    },
  };
}

/** What a subscription's stream goes by: a request of its client, or a change in a group that it follows. */
type Input =
  | { request: SubscribeConfigurationRequest; change?: undefined; place?: undefined; group?: undefined }
  | { request?: undefined; change: Change; place: Place; group: Followed };

async function* asked(requests: AsyncIterable<SubscribeConfigurationRequest>): AsyncGenerator<Input> {
  for await (const request of requests) yield { request };
}

async function* changesOf(
  of: { place: Place; group: Followed },
  changes: AsyncIterable<Change>,
  signal: AbortSignal,
): AsyncGenerator<Input> {
  for await (const change of changes) yield { change, ...of };
  if (!signal.aborted) throw unavailable("the engine ended the watch");
}

async function* picked(store: KeyStore, prefix: string, keys: readonly string[]): AsyncGenerator<Entry> {
  const once = [...new Set(keys)].map((key) => prefix + key);
  for (const entry of await store.getMany(once)) if (entry) yield entry;
}

/** The beginning of the engine's keys of a group. */
const groupPrefix = ({ storeName, appId, group, label }: Place): string =>
  under("configuration", storeName, appId, group || DEFAULT, label || DEFAULT);

const complete = (item: ConfigurationItem): ConfigurationItem => ({
  ...item,
  group: item.group || DEFAULT,
  label: item.label || DEFAULT,
});

const itemOf = ({ value }: Entry): ConfigurationItem => fromBinary(ConfigurationItemSchema, value);

/** How a subscriber is told that the item at the engine's key `at` is gone. */
function deleted(place: Place, at: string): ConfigurationItem {
  const { group, label } = place;
  const key = at.slice(groupPrefix(place).length);
  return complete(create(ConfigurationItemSchema, { key, group, label, metadata: { deleted: "true" } }));
}

const response = (
  { storeName, appId }: Place,
  items: ConfigurationItem[],
): MessageInitShape<typeof SubscribeConfigurationResponseSchema> => ({ storeName, appId, items });
