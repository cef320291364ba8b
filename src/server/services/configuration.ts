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
import { GroupSubscription } from "./configuration/group-subscription.js";
import { keyPrefix } from "./shared/keyspace.js";

type ConfigurationMethods = Pick<
  ServiceImpl<typeof Runtime>,
  "getConfiguration" | "saveConfiguration" | "deleteConfiguration" | "subscribeConfiguration"
>;

/** The group and the label of requests that omit them. */
const DEFAULT = "default";

/** A group of items: the fields of a request besides the keys. */
type ItemGroup = { storeName: string; appId: string; group: string; label: string };

/** The configuration RPCs: items by store, app, group, label and key. Each is stored as the message that was saved. */
export function configurationService(context: ServiceContext): ConfigurationMethods {
  const { components } = context;
  const { keys: store } = context.engine;
  return {
    async getConfiguration(request) {
      components.get("configuration", request.storeName);
      return { items: (await readItems(context, request, request.keys)).map(itemOf) };
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

    async deleteConfiguration({ keys, ...group }) {
      components.get("configuration", group.storeName);
      const prefix = groupPrefix(group);
      const writes = [...new Set(keys)].map((key): Write => ({ type: "delete", key: prefix + key }));
      if (writes.length > 0) await store.commit(writes);
      return {};
    },

    async *subscribeConfiguration(requests, { requestHeader, signal }) {
      const wantsInitial = requestHeader.get(INITIAL_HEADER) === "true";
      const subscription = new Subscription(context, signal);
      for await (const { request, change } of subscription.inputs(requests)) {
        if (change) {
          const { group, subscribed } = change;
          const unsent = await subscribed.filter(change.change, store);
          if (unsent?.type === "set") yield response(group, [itemOf(unsent.entry)]);
          if (unsent?.type === "delete") yield response(group, [deletedItem(group, unsent.key)]);
          continue;
        }
        const subscribed = subscription.add(request);
        const present = await readItems(context, request, request.keys);
        subscribed.markSent(present);
        // Existing clients read the first item of each response without checking that there is one.
        if (present.length > 0 || wantsInitial) yield response(request, present.map(itemOf));
      }
      if (signal.aborted) throw canceled(signal);
    },
  };
}

/** The items of a group, those of the given keys or all. Fails if they exceed the size of a response. */
async function readItems(
  { engine, limits }: ServiceContext,
  group: ItemGroup,
  keys: readonly string[],
): Promise<Entry[]> {
  const { keys: store } = engine;
  const prefix = groupPrefix(group);
  const found: Entry[] = [];
  let bytes = 0;
  for await (const entry of keys.length > 0 ? readKeys(store, prefix, keys) : store.list(prefix)) {
    bytes += entry.value.length;
    if (bytes > limits.messageBytes) {
      const why = `the items of group ${quote(group.group || DEFAULT)} do not fit one answer: ask for some keys`;
      throw exhausted("messageBytes", limits.messageBytes, why);
    }
    found.push(entry);
  }
  return found;
}

/** A change in a group that a subscription follows. */
type GroupChange = { change: Change; group: ItemGroup; subscribed: GroupSubscription };

/** An input of a subscription's stream: a request of its client, or a change. */
type Input =
  | { request: SubscribeConfigurationRequest; change?: undefined }
  | { request?: undefined; change: GroupChange };

/** The groups that one stream follows. */
class Subscription {
  readonly #context: ServiceContext;
  readonly #signal: AbortSignal;
  readonly #groups = new Map<string, GroupSubscription>();
  readonly #inputs: MergedStream<Input>;
  #keyCount = 0;

  constructor(context: ServiceContext, signal: AbortSignal) {
    this.#context = context;
    this.#signal = signal;
    this.#inputs = new MergedStream<Input>(signal);
  }

  /**
   * The stream's requests and the changes in its groups, one after the other: so no change gets between the answer to a
   * request and the changes that follow it.
   */
  inputs(requests: AsyncIterable<SubscribeConfigurationRequest>): AsyncIterable<Input> {
    this.#inputs.add(requestInputs(requests));
    return this.#inputs;
  }

  /** Follows the group and the keys of a request. */
  add(request: SubscribeConfigurationRequest): GroupSubscription {
    const { components, limits } = this.#context;
    components.get("configuration", request.storeName);
    const prefix = groupPrefix(request);
    const subscribed = this.#groups.get(prefix) ?? this.#addGroup(prefix, request);
    this.#keyCount += subscribed.add(request.keys.map((key) => prefix + key));
    if (this.#keyCount > limits.subscriptionKeys) {
      const why = `the stream asks for ${this.#keyCount} in all`;
      throw exhausted("subscriptionKeys", limits.subscriptionKeys, why);
    }
    return subscribed;
  }

  #addGroup(prefix: string, group: ItemGroup): GroupSubscription {
    const { engine, limits } = this.#context;
    const most = limits.subscriptionGroups;
    if (this.#groups.size === most) {
      throw exhausted("subscriptionGroups", most, "the stream follows as many already");
    }
    const subscribed = new GroupSubscription();
    this.#groups.set(prefix, subscribed);
    // Watches before the values are read, so that no change in between is missed.
    const changes = engine.keys.watch(prefix, this.#signal);
    this.#inputs.add(changeInputs({ group, subscribed }, changes, this.#signal));
    return subscribed;
  }
}

async function* requestInputs(requests: AsyncIterable<SubscribeConfigurationRequest>): AsyncGenerator<Input> {
  for await (const request of requests) yield { request };
}

async function* changeInputs(
  source: Omit<GroupChange, "change">,
  changes: AsyncIterable<Change>,
  signal: AbortSignal,
): AsyncGenerator<Input> {
  for await (const change of changes) yield { change: { change, ...source } };
  if (!signal.aborted) throw unavailable("the engine ended the watch");
}

async function* readKeys(store: KeyStore, prefix: string, keys: readonly string[]): AsyncGenerator<Entry> {
  const unique = [...new Set(keys)].map((key) => prefix + key);
  for (const entry of await store.getMany(unique)) if (entry) yield entry;
}

/** The prefix of the engine's keys of a group. */
const groupPrefix = ({ storeName, appId, group, label }: ItemGroup): string =>
  keyPrefix("configuration", storeName, appId, group || DEFAULT, label || DEFAULT);

const complete = (item: ConfigurationItem): ConfigurationItem => ({
  ...item,
  group: item.group || DEFAULT,
  label: item.label || DEFAULT,
});

const itemOf = ({ value }: Entry): ConfigurationItem => fromBinary(ConfigurationItemSchema, value);

/** The item that reports the deletion of the engine's key `engineKey`. */
function deletedItem(itemGroup: ItemGroup, engineKey: string): ConfigurationItem {
  const { group, label } = itemGroup;
  const key = engineKey.slice(groupPrefix(itemGroup).length);
  return complete(create(ConfigurationItemSchema, { key, group, label, metadata: { deleted: "true" } }));
}

const response = (
  { storeName, appId }: ItemGroup,
  items: ConfigurationItem[],
): MessageInitShape<typeof SubscribeConfigurationResponseSchema> => ({ storeName, appId, items });
