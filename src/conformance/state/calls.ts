import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import {
  type BulkStateItem,
  Runtime,
  type StateItemSchema,
  StateOptions_StateConcurrency,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import type { CaseContext } from "../case-context.js";

export const { CONCURRENCY_FIRST_WRITE: FIRST_WRITE, CONCURRENCY_LAST_WRITE: LAST_WRITE } =
  StateOptions_StateConcurrency;

type Item = Omit<MessageInitShape<typeof StateItemSchema>, "$typeName">;
type ItemFields = Omit<Item, "key" | "value">;

/**
 * One operation of a transaction: "upsert" or "delete", key, value and other fields. A delete has the etag "0" by
 * default.
 */
type Operation = readonly [type: string, key: string, value?: string, rest?: ItemFields];

/** The state RPCs on keys that belong to the case. The keys are deleted at the end. */
export interface StateCalls extends CaseContext {
  readonly runtime: Client<typeof Runtime>;
  readonly storeName: string;
  /** The full key of `name`. */
  key(name: string): string;
  /** A StateItem message. */
  item(key: string, value?: string | Uint8Array, rest?: ItemFields): Item;
  save(key: string, value?: string | Uint8Array, rest?: ItemFields): Promise<unknown>;
  saveAll(...items: Item[]): Promise<unknown>;
  /** Text and etag. */
  get(key: string): Promise<{ text: string; etag: string; metadata: Record<string, string> }>;
  etag(key: string): Promise<string>;
  text(key: string): Promise<string>;
  /** Deletes with an etag. The default "0" is no condition, also for the Go runtime. */
  delete(key: string, etag?: string): Promise<unknown>;
  /** Deletes without the field `etag`. */
  deleteWithoutEtag(key: string): Promise<unknown>;
  deleteAll(...items: Item[]): Promise<unknown>;
  bulk(keys: string[], parallelism?: number): Promise<BulkStateItem[]>;
  transact(...operations: Operation[]): Promise<unknown>;
}

export function stateCalls(context: CaseContext): StateCalls {
  const runtime = context.client(Runtime);
  const storeName = context.stores.state;
  const used = new Set<string>();
  const key = (name: string) => {
    const own = context.own(name);
    used.add(own);
    return own;
  };
  const item = (name: string, value: string | Uint8Array = "", rest: ItemFields = {}): Item => ({
    key: key(name),
    value: typeof value === "string" ? utf8(value) : value,
    ...rest,
  });
  const saveAll = (...states: Item[]) => runtime.saveState({ storeName, states });
  const get = async (name: string) => {
    const { data, etag, metadata } = await runtime.getState({ storeName, key: key(name) });
    return { text: fromUtf8(data), etag, metadata };
  };
  context.after(() =>
    runtime.deleteBulkState({ storeName, states: [...used].map((key) => ({ key, ...NO_CONDITION })) }),
  );
  return {
    ...context,
    runtime,
    storeName,
    key,
    item,
    saveAll,
    get,
    save: (name, value, rest) => saveAll(item(name, value, rest)),
    etag: async (name) => (await get(name)).etag,
    text: async (name) => (await get(name)).text,
    delete: (name, etag = "0") => runtime.deleteState({ storeName, key: key(name), etag: { value: etag } }),
    deleteWithoutEtag: (name) => runtime.deleteState({ storeName, key: key(name) }),
    deleteAll: (...states) => runtime.deleteBulkState({ storeName, states }),
    bulk: async (names, parallelism = 0) =>
      (await runtime.getBulkState({ storeName, keys: names.map(key), parallelism })).items,
    transact: (...operations) =>
      runtime.executeStateTransaction({
        storeName,
        operations: operations.map(([operationType, name, value, rest]) => ({
          operationType,
          request: item(name, value, rest ?? (operationType === "delete" ? NO_CONDITION : {})),
        })),
      }),
  };
}

/** An etag that is no condition. The Go runtime treats an unset etag of a delete as "", and refuses the delete. */
export const NO_CONDITION = { etag: { value: "0" } };
export const withEtag = (value: string) => ({ etag: { value } });
export const firstWrite = { options: { concurrency: FIRST_WRITE } };
export const ttl = (ttlInSeconds: string) => ({ metadata: { ttlInSeconds } });
