import type { MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, Code, ConnectError } from "@connectrpc/connect";
import type { TransactionalStateOperationSchema } from "../../../gen/runtime/state_pb.js";
import { checkOptions } from "../../lib/checks.js";
import { checkedNames } from "../../lib/name-lists.js";
import { quote } from "../../lib/quote.js";
import { retryOnConflict } from "../conflict-retry.js";
import type { StateEntries, StateEntry, StateStore } from "../state.js";
import { needEtag } from "./create-only.js";
import type { SingleOperations, StateRequests } from "./single.js";
import { collectWrites } from "./transaction.js";

type Operation = MessageInitShape<typeof TransactionalStateOperationSchema>;
type MultipleOperations<V> = Pick<StateStore<V>, "getMany" | "update" | "transaction">;

/** The operations of createState() that make several requests, or one for several entries. */
export function multipleOperations<V>(
  requests: StateRequests<V>,
  single: SingleOperations<V>,
): MultipleOperations<V> {
  return {
    getMany: (keys, call = {}) => getMany(requests, keys, call),
    update: (key, change, options = {}) => update(requests, single, key, change, options),
    transaction: (collect, options = {}) => transaction(requests, collect, options),
  };
}

async function getMany<V>(
  { client, storeName, entry }: StateRequests<V>,
  keys: readonly string[],
  call: CallOptions,
): Promise<StateEntries<V>> {
  const failure = `Cannot get many in state store ${quote(storeName)}`;
  checkOptions(failure, call);
  const request = { storeName, keys: checkedNames(`${failure}: keys`, keys) };
  const { items } = await client.getBulkState(request, call);
  const errors = new Map<string, ConnectError>();
  const entries = new Map<string, StateEntry<V>>();
  for (const { key, data, etag, metadata, error } of items) {
    const found = error ? undefined : entry(key, data, etag, metadata);
    if (error) errors.set(key, new ConnectError(error, Code.Unknown));
    else if (found) entries.set(key, found);
  }
  return Object.assign(entries, { errors });
}

async function update<V>(
  { checkCall }: StateRequests<V>,
  single: SingleOperations<V>,
  key: string,
  change: Parameters<StateStore<V>["update"]>[1],
  options: NonNullable<Parameters<StateStore<V>["update"]>[2]>,
): Promise<V | undefined> {
  const failure = checkCall("update", key, options);
  const { ttlMs, fence, ...retry } = options;
  return retryOnConflict(failure, change, retry, {
    async read(call) {
      const entry = await single.get(key, { ...call, consistency: "strong" });
      needEtag(failure, entry);
      return entry;
    },
    decode: ({ value }) => value,
    async write(entry, value, call) {
      const conditions = {
        ...call,
        ...(fence && { fence }),
        ...(entry && { ifMatch: entry.etag }),
      };
      if (value !== undefined) {
        const lifetime = ttlMs !== undefined && { ttlMs };
        await single.set(key, value, { ...conditions, ...lifetime, ifAbsent: !entry });
      } else if (entry) await single.delete(key, conditions);
      return value;
    },
  });
}

async function transaction<V>(
  { client, storeName, checkCall, item, removal, write }: StateRequests<V>,
  collect: Parameters<StateStore<V>["transaction"]>[0],
  options: NonNullable<Parameters<StateStore<V>["transaction"]>[1]>,
): Promise<string | undefined> {
  const failure = `Cannot do a transaction in state store ${quote(storeName)}`;
  checkOptions(failure, options, { fence: "object" });
  const { fence, ...call } = options;
  const { operations, ...conditions } = await collectWrites<V, Operation>(failure, collect, {
    set: (key, value, options) => ({
      operationType: "upsert",
      request: item(checkCall("set", key, options), key, value, options),
    }),
    remove: (key, options) => ({
      operationType: "delete",
      request: removal(checkCall("delete", key, options), key, options.ifMatch),
    }),
  });
  if (operations.length === 0) return undefined;
  return write(failure, call, { fence, ...conditions }, (call) =>
    client.executeStateTransaction({ storeName, operations }, call),
  );
}
