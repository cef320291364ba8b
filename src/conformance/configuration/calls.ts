import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import {
  type ConfigurationItem,
  type ConfigurationItemSchema,
  Runtime,
  type SubscribeConfigurationResponse,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { Queue } from "../../lib/queue.js";
import { INITIAL_HEADER } from "../../rpc/extension-headers.js";
import type { CaseContext } from "../case-context.js";
import { AssertionError } from "../expect.js";

/** A place and keys. The default group belongs to the case. */
type Place = { storeName?: string; appId?: string; group?: string; label?: string; keys?: string[] };

type Item = Omit<MessageInitShape<typeof ConfigurationItemSchema>, "$typeName">;

/** A subscription, message by message. */
interface ConfigurationStream {
  ask(place: Place): void;
  halfClose(): void;
  next(): Promise<SubscribeConfigurationResponse>;
  /** The items of the next response, as "key: content". */
  items(): Promise<string[]>;
  leave(): void;
}

/** The configuration RPCs on a group that belongs to the case. The group is emptied at the end. */
export interface ConfigurationCalls extends CaseContext {
  readonly runtime: Client<typeof Runtime>;
  readonly storeName: string;
  readonly group: string;
  save(items: Record<string, string>, place?: Omit<Place, "keys">): Promise<unknown>;
  saveItems(items: Item[], place?: Omit<Place, "keys">): Promise<unknown>;
  remove(keys: string[], place?: Place): Promise<unknown>;
  get(place?: Place): Promise<Record<string, string>>;
  items(place?: Place): Promise<ConfigurationItem[]>;
  /** Subscribes. By default the headers ask for an immediate response, even if there are no items. */
  follow(first?: Place, headers?: Record<string, string>): ConfigurationStream;
}

export const formatItem = ({ key, content, metadata }: ConfigurationItem): string =>
  `${key}: ${metadata["deleted"] === "true" ? "deleted" : content}`;

export function configurationCalls(context: CaseContext): ConfigurationCalls {
  const runtime = context.client(Runtime);
  const storeName = context.stores.configuration;
  const group = context.own("g");
  const withDefaults = (place: Place = {}) => ({ storeName, group, ...place });
  const saveItems = (items: Item[], place: Omit<Place, "keys"> = {}) => {
    const { group: _, label, storeName, ...rest } = { ...withDefaults(place) };
    const own = withDefaults(place).group;
    const all = items.map((item) => ({ group: own, ...(label !== undefined && { label }), ...item }));
    context.after(() =>
      runtime.deleteConfiguration({ ...withDefaults(place), keys: items.map(({ key = "" }) => key) }),
    );
    return runtime.saveConfiguration({ storeName, ...rest, items: all });
  };
  const items = async (place?: Place) => (await runtime.getConfiguration(withDefaults(place))).items;
  return {
    ...context,
    runtime,
    storeName,
    group,
    saveItems,
    items,
    save: (contents, place) =>
      saveItems(
        Object.entries(contents).map(([key, content]) => ({ key, content })),
        place,
      ),
    remove: (keys, place) => runtime.deleteConfiguration({ ...withDefaults(place), keys }),
    get: async (place) => Object.fromEntries((await items(place)).map(({ key, content }) => [key, content])),
    follow(first, headers = { [INITIAL_HEADER]: "true" }) {
      const requests = new Queue<Place>();
      const cancellation = new AbortController();
      const responses = runtime
        .subscribeConfiguration(requests, { signal: cancellation.signal, headers })
        [Symbol.asyncIterator]();
      const next = async () => {
        const { value, done } = await responses.next();
        if (done) throw new AssertionError("the stream ended", undefined, undefined, { isEnd: true });
        return value;
      };
      const leave = () => cancellation.abort();
      context.after(leave);
      if (first) requests.push(withDefaults(first));
      return {
        ask: (place) => requests.push(withDefaults(place)),
        halfClose: () => requests.end(),
        next,
        items: async () => (await next()).items.map(formatItem),
        leave,
      };
    },
  };
}
