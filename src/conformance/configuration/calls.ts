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
type Asked = { storeName?: string; appId?: string; group?: string; label?: string; keys?: string[] };

type Item = Omit<MessageInitShape<typeof ConfigurationItemSchema>, "$typeName">;

/** A subscription, message by message. */
interface Following {
  ask(asked: Asked): void;
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
  save(items: Record<string, string>, place?: Omit<Asked, "keys">): Promise<unknown>;
  saveItems(items: Item[], place?: Omit<Asked, "keys">): Promise<unknown>;
  remove(keys: string[], place?: Asked): Promise<unknown>;
  get(place?: Asked): Promise<Record<string, string>>;
  items(place?: Asked): Promise<ConfigurationItem[]>;
  /** Subscribes. By default the headers ask for an immediate response, even if there are no items. */
  follow(first?: Asked, headers?: Record<string, string>): Following;
}

export const shownItem = ({ key, content, metadata }: ConfigurationItem): string =>
  `${key}: ${metadata["deleted"] === "true" ? "deleted" : content}`;

export function configurationCalls(bench: CaseContext): ConfigurationCalls {
  const runtime = bench.client(Runtime);
  const storeName = bench.stores.configuration;
  const group = bench.own("g");
  const placed = (asked: Asked = {}) => ({ storeName, group, ...asked });
  const saveItems = (items: Item[], place: Omit<Asked, "keys"> = {}) => {
    const { group: _, label, storeName, ...rest } = { ...placed(place) };
    const own = placed(place).group;
    const all = items.map((item) => ({ group: own, ...(label !== undefined && { label }), ...item }));
    bench.after(() =>
      runtime.deleteConfiguration({ ...placed(place), keys: items.map(({ key = "" }) => key) }),
    );
    return runtime.saveConfiguration({ storeName, ...rest, items: all });
  };
  const items = async (place?: Asked) => (await runtime.getConfiguration(placed(place))).items;
  return {
    ...bench,
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
    remove: (keys, place) => runtime.deleteConfiguration({ ...placed(place), keys }),
    get: async (place) => Object.fromEntries((await items(place)).map(({ key, content }) => [key, content])),
    follow(first, headers = { [INITIAL_HEADER]: "true" }) {
      const requests = new Queue<Asked>();
      const left = new AbortController();
      const responses = runtime
        .subscribeConfiguration(requests, { signal: left.signal, headers })
        [Symbol.asyncIterator]();
      const next = async () => {
        const { value, done } = await responses.next();
        if (done) throw new AssertionError("the stream ended", undefined, undefined, { isEnd: true });
        return value;
      };
      const leave = () => left.abort();
      bench.after(leave);
      if (first) requests.push(placed(first));
      return {
        ask: (asked) => requests.push(placed(asked)),
        halfClose: () => requests.end(),
        next,
        items: async () => (await next()).items.map(shownItem),
        leave,
      };
    },
  };
}
