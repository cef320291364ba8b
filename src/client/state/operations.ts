import type { MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, type Client, Code, ConnectError } from "@connectrpc/connect";
import type { Runtime, TransactionalStateOperationSchema } from "../../../gen/runtime/state_pb.js";
import { checkOptions, checkType, type OptionType } from "../../lib/checks.js";
import { checkedCount } from "../../lib/count-checks.js";
import { checkedNames } from "../../lib/name-lists.js";
import { readValue, retryOnConflict } from "../conflict-retry.js";
import type { Fence } from "../lock/fence.js";
import { needEtag } from "./create-only.js";
import { collectWrites } from "./transaction.js";

type Operation = MessageInitShape<typeof TransactionalStateOperationSchema>;
type Item = NonNullable<Operation["request"]>;

interface Entry<V> {
  value: V;
  etag: string;
}

/** What a write depends on. */
interface Conditions {
  ifMatch?: string;
  ifAbsent?: boolean;
  ttlMs?: number;
  fence?: Fence;
}

/** A state store as its less common operations see it. */
export interface StateParts<V, E extends Entry<V>> {
  client: Client<typeof Runtime>;
  storeName: string;
  /** The types of conditions. */
  conditions: Readonly<Record<string, OptionType>>;
  cannot(what: string): string;
  begin(doing: string, key: string, options: object, types?: Record<string, OptionType>): string;
  entry(key: string, data: Uint8Array, etag: string, metadata: Record<string, string>): E | undefined;
  item(key: string, value: V, options: Omit<Conditions, "fence">): Item;
  removal(key: string, options: Pick<Conditions, "ifMatch">): Item;
  write(
    what: string,
    call: CallOptions,
    conditions: { fence?: Fence | undefined; ifAbsent?: boolean | undefined; once: boolean },
    send: (call: CallOptions) => Promise<unknown>,
  ): Promise<string | undefined>;
  store: {
    get(key: string, options: CallOptions & { consistency: "strong" }): Promise<E | undefined>;
    set(key: string, value: V, options: CallOptions & Conditions): Promise<unknown>;
    delete(key: string, options: CallOptions & Conditions): Promise<unknown>;
  };
}

/** StateStore.getMany() */
export async function getManyEntries<V, E extends Entry<V>>(
  { client, storeName, cannot, entry }: StateParts<V, E>,
  keys: readonly string[],
  call: CallOptions = {},
): Promise<ReadonlyMap<string, E> & { readonly errors: ReadonlyMap<string, ConnectError> }> {
  const what = cannot("get many");
  checkOptions(what, call);
  const request = { storeName, keys: checkedNames(`${what}: keys`, keys) };
  const { items } = await client.getBulkState(request, call);
  const errors = new Map<string, ConnectError>();
  const entries = new Map<string, E>();
  for (const { key, data, etag, metadata, error } of items) {
    const found = error ? undefined : entry(key, data, etag, metadata);
    if (error) errors.set(key, new ConnectError(error, Code.Unknown));
    else if (found) entries.set(key, found);
  }
  return Object.assign(entries, { errors });
}

/** StateStore.update() */
export async function updateEntry<V, E extends Entry<V>>(
  { begin, conditions, store }: StateParts<V, E>,
  key: string,
  change: (value: V | undefined) => V | undefined | Promise<V | undefined>,
  options: CallOptions &
    Pick<Conditions, "ttlMs" | "fence"> & { maxAttempts?: number; replaceUnreadable?: boolean } = {},
): Promise<V | undefined> {
  const what = begin("update", key, options, { ...conditions, replaceUnreadable: "boolean" });
  checkType(what, "change", "function", change);
  const { maxAttempts = 20, replaceUnreadable, ttlMs, fence, ...call } = options;
  checkedCount(what, "maxAttempts", maxAttempts);
  const kept = { ...(fence && { fence }) };
  return retryOnConflict(what, { call, maxAttempts }, async (left) => {
    const found = await store.get(key, { consistency: "strong", ...left() });
    needEtag(what, found);
    const value = await change(readValue(found, replaceUnreadable));
    const over = found ? { ifMatch: found.etag } : { ifAbsent: true };
    return async () => {
      if (value !== undefined) {
        await store.set(key, value, { ...left(), ...kept, ...over, ...(ttlMs !== undefined && { ttlMs }) });
      } else if (found) await store.delete(key, { ...left(), ...kept, ifMatch: found.etag });
      return value;
    };
  });
}

/** StateStore.transaction() */
export async function transact<V, E extends Entry<V>>(
  { client, storeName, conditions, cannot, item, removal, write }: StateParts<V, E>,
  collect: Parameters<
    typeof collectWrites<V, Omit<Conditions, "fence">, Pick<Conditions, "ifMatch">, Operation>
  >[1],
  options: CallOptions & Pick<Conditions, "fence"> = {},
): Promise<string | undefined> {
  const what = cannot("do a transaction");
  checkOptions(what, options, conditions);
  const { fence, ...call } = options;
  const { operations, ...writes } = await collectWrites(what, collect, {
    set: (key, value, options) => ({ operationType: "upsert", request: item(key, value, options) }),
    remove: (key, options) => ({ operationType: "delete", request: removal(key, options) }),
  });
  if (operations.length === 0) return undefined;
  return write(what, call, { fence, ...writes }, (call) =>
    client.executeStateTransaction({ storeName, operations }, call),
  );
}
