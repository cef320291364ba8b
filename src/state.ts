import type { MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, Code, ConnectError, type Transport } from "@connectrpc/connect";
import {
  StateOptions_StateConcurrency as Concurrency,
  StateOptions_StateConsistency as Consistency,
  Runtime,
  type StateItemSchema,
  type TransactionalStateOperationSchema,
} from "../gen/runtime/state/spec/proto/runtime/v1/runtime_pb.js";
import { type Coding, codecOf } from "./codec.js";
import { conflictFacts, isConflict } from "./errors.js";
import { jitteredMs } from "./internal/backoff.js";
import { callsOf } from "./internal/calls.js";
import { deadline } from "./internal/deadline.js";
import { needExtensions } from "./internal/extensions.js";
import { type Fence, fenceHeader } from "./internal/fence.js";
import { tellingHeaders, withHeaders } from "./internal/headers.js";
import { conditional } from "./internal/retry.js";
import { sleep } from "./internal/timer.js";
import { wholeSeconds } from "./internal/ttl.js";

/** A stored value and what its store knows about it. */
export type StateEntry<V> = {
  /** Where it is in the store. */
  key: string;
  /** What is there. */
  value: V;
  /** Names this version of the entry, for `ifMatch`. Opaque; "" on a store that has none. */
  etag: string;
  /** What was left of its lifetime when it was read, in milliseconds; undefined: no expiry, or not told. */
  ttlRemainingMs: number | undefined;
};

/** The entries that getMany() found, by key, and beside them the keys that could not be read. */
export type StateEntries<V> = ReadonlyMap<string, StateEntry<V>> & {
  /** Why a key could not be read, by key. */
  readonly errors: ReadonlyMap<string, ConnectError>;
};

/** How an entry is read. */
export interface ReadOptions extends CallOptions {
  /** "strong" reads the latest committed write, "eventual" may be behind. Default: as the store does. */
  consistency?: "strong" | "eventual";
}

/** On which conditions an entry is removed. */
export interface RemoveOptions extends CallOptions {
  /** Only over the version with this etag, else it fails with `Code.Aborted`. */
  ifMatch?: string;
  /** Only while no one else has been granted this lock since, else it fails with `Code.Aborted`. */
  fence?: Fence;
}

/** On which conditions an entry is written, and for how long. */
export interface WriteOptions extends RemoveOptions {
  /** Only where the key is absent, else it fails with `Code.Aborted`. Default: false. */
  ifAbsent?: boolean;
  /**
   * Lifetime in milliseconds from the write, in whole seconds, rounded up; 0 takes the expiry away. Default: a new
   * entry stays, one that is overwritten keeps the expiry it has.
   */
  ttlMs?: number;
}

/** How an entry is changed over what was read. */
export interface UpdateOptions extends Pick<WriteOptions, "ttlMs" | "fence">, CallOptions {
  /** How often to try before the last conflict is thrown. Default: 20. */
  maxAttempts?: number;
}

/** One write of a transaction. */
export type TransactionWriteOptions = Pick<WriteOptions, "ifMatch" | "ifAbsent" | "ttlMs">;

/** Collects the writes of a transaction; a later one sees what an earlier one did. */
export interface StateTransaction<V> {
  /** Stores `value`. */
  set(key: string, value: V, options?: TransactionWriteOptions): void;
  /** Removes the entry; one that is not there is no failure, unless `ifMatch` asks for it. */
  delete(key: string, options?: Pick<RemoveOptions, "ifMatch">): void;
}

/** Keys and values in one state store: single reads and writes, and several at once. */
export interface StateStore<V> {
  /** The entry at `key`, or undefined if there is none. `GetState` */
  get(key: string, options?: ReadOptions): Promise<StateEntry<V> | undefined>;
  /** The entries at `keys`, without the missing ones; keys that failed are in `errors`. `GetBulkState` */
  getMany(keys: readonly string[], options?: CallOptions): Promise<StateEntries<V>>;
  /** Stores `value` and returns its etag, undefined where the server does not tell. `SaveState` */
  set(key: string, value: V, options?: WriteOptions): Promise<string | undefined>;
  /** Removes the entry; one that is not there is no failure, unless `ifMatch` asks for it. `DeleteState` */
  delete(key: string, options?: RemoveOptions): Promise<void>;
  /**
   * Replaces the value by what `change` makes of it (undefined where there is none; undefined removes it), over
   * nothing but the version that `change` saw. Where another was faster it waits a little and begins anew, so
   * `change` may run several times. Returns the new value.
   */
  update(
    key: string,
    change: (value: V | undefined) => V | undefined | Promise<V | undefined>,
    options?: UpdateOptions,
  ): Promise<V | undefined>;
  /**
   * Does all the writes that `collect` puts in, or none. Returns the etag that they share, undefined where the server
   * does not tell or nothing was put in. `ExecuteStateTransaction`
   */
  transaction(
    collect: (tx: StateTransaction<V>) => void,
    options?: Pick<RemoveOptions, "fence"> & CallOptions,
  ): Promise<string | undefined>;
}

/** The state store that the server calls `name`. Costs nothing: the first call goes to the server. */
export function createState<V = unknown>(
  transport: Transport,
  name: string,
  coding: Coding<V> = {},
): StateStore<V> {
  const client = callsOf(Runtime, transport);
  const codec = codecOf(coding);
  const storeName = name;

  const entry = (key: string, data: Uint8Array, etag: string, metadata: Record<string, string>) => {
    // An etag without data is a stored empty value; data without an etag comes from a store that has no etags.
    if (etag === "" && data.length === 0) return undefined;
    const left = metadata["ttlRemainingMs"];
    return { key, value: codec.decode(data), etag, ttlRemainingMs: left ? Number(left) : undefined };
  };

  const item = (key: string, value: V, { ifMatch, ifAbsent, ttlMs }: TransactionWriteOptions) => {
    if (ifMatch !== undefined && ifAbsent) {
      throw new TypeError(`Cannot set "${key}": ifMatch and ifAbsent exclude each other`);
    }
    const metadata: Record<string, string> = {};
    if (ttlMs !== undefined)
      metadata["ttlInSeconds"] = String(wholeSeconds(ttlMs, `set "${key}"`, { least: 0 }));
    return {
      key,
      value: codec.encode(value),
      metadata,
      ...(ifMatch !== undefined && { etag: { value: checkedEtag(key, ifMatch) } }),
      ...(ifAbsent && { options: { concurrency: Concurrency.CONCURRENCY_FIRST_WRITE } }),
    } satisfies MessageInitShape<typeof StateItemSchema>;
  };

  /** Sends a write with its fence, after learning whether the server can keep what is asked for. */
  const write = async (
    call: CallOptions,
    { fence, ifAbsent, once }: { fence?: Fence | undefined; ifAbsent?: boolean | undefined; once: boolean },
    send: (call: CallOptions) => Promise<unknown>,
  ): Promise<string | undefined> => {
    if (fence) await needExtensions(transport, "Cannot write under a fence", call.signal);
    if (ifAbsent) await needExtensions(transport, "Cannot write only where the key is absent", call.signal);
    let etag: string | undefined;
    const told = tellingHeaders(call, (headers) => {
      etag = headers.get("fairlead-etag") ?? undefined;
    });
    const fenced = fence ? withHeaders(told, { "fairlead-fence": fenceHeader(fence) }) : told;
    await send(once ? { ...fenced, contextValues: conditional(call.contextValues) } : fenced);
    return etag;
  };

  const store: StateStore<V> = {
    async get(key, { consistency, ...call } = {}) {
      const request = { storeName, key, consistency: CONSISTENCY[consistency ?? "unspecified"] };
      const { data, etag, metadata } = await client.getState(request, call);
      return entry(key, data, etag, metadata);
    },

    async getMany(keys, call) {
      const { items } = await client.getBulkState({ storeName, keys: [...keys] }, call);
      const errors = new Map<string, ConnectError>();
      const entries = new Map<string, StateEntry<V>>();
      for (const { key, data, etag, metadata, error } of items) {
        const found = error ? undefined : entry(key, data, etag, metadata);
        if (error) errors.set(key, new ConnectError(error, Code.Unknown));
        else if (found) entries.set(key, found);
      }
      return Object.assign(entries, { errors });
    },

    async set(key, value, { ifMatch, ifAbsent, ttlMs, fence, ...call } = {}) {
      const states = [item(key, value, { ifMatch, ifAbsent, ttlMs })];
      const once = ifMatch !== undefined || ifAbsent === true;
      return write(call, { fence, ifAbsent, once }, (call) => client.saveState({ storeName, states }, call));
    },

    async delete(key, { ifMatch, fence, ...call } = {}) {
      // The Go runtime takes a missing etag for a wrong one here, and "0" for none.
      const etag = { value: ifMatch === undefined ? "0" : checkedEtag(key, ifMatch) };
      const once = ifMatch !== undefined;
      await write(call, { fence, once }, (call) => client.deleteState({ storeName, key, etag }, call));
    },

    async update(key, change, { maxAttempts = 20, ttlMs, fence, ...call } = {}) {
      const left = deadline(call, `Cannot update "${key}"`);
      for (let attempt = 1; ; attempt++) {
        const found = await store.get(key, { consistency: "strong", ...left() });
        const value = await change(found?.value);
        if (value === undefined && !found) return undefined;
        const ifMatch = found?.etag;
        try {
          if (value === undefined) await store.delete(key, { ...left(), fence, ifMatch });
          else await store.set(key, value, { ...left(), fence, ttlMs, ifMatch, ifAbsent: !found });
          return value;
        } catch (error) {
          // A newer holder of the lock does not go away: there is nothing to try again.
          const fenced = conflictFacts(error)?.fence !== undefined;
          if (!isConflict(error) || fenced || attempt >= maxAttempts) throw error;
        }
        await sleep(jitteredMs({ minMs: 5, maxMs: 500 }, attempt), call.signal);
      }
    },

    async transaction(collect, { fence, ...call } = {}) {
      const operations: MessageInitShape<typeof TransactionalStateOperationSchema>[] = [];
      let ifAbsent = false;
      let once = true;
      collect({
        set(key, value, options = {}) {
          ifAbsent ||= options.ifAbsent ?? false;
          once &&= options.ifMatch !== undefined || options.ifAbsent === true;
          operations.push({ operationType: "upsert", request: item(key, value, options) });
        },
        delete(key, { ifMatch } = {}) {
          once &&= ifMatch !== undefined;
          const etag = { value: ifMatch === undefined ? "0" : checkedEtag(key, ifMatch) };
          operations.push({ operationType: "delete", request: { key, etag } });
        },
      });
      if (operations.length === 0) return undefined;
      return write(call, { fence, ifAbsent, once }, (call) =>
        client.executeStateTransaction({ storeName, operations }, call),
      );
    },
  };
  return store;
}

const CONSISTENCY = {
  unspecified: Consistency.CONSISTENCY_UNSPECIFIED,
  eventual: Consistency.CONSISTENCY_EVENTUAL,
  strong: Consistency.CONSISTENCY_STRONG,
} as const;

/** An empty etag and "0" mean no condition on the wire: what was meant as one must not become none. */
function checkedEtag(key: string, ifMatch: string): string {
  if (ifMatch !== "" && ifMatch !== "0") return ifMatch;
  throw new TypeError(`Cannot write "${key}": ifMatch must be an etag that the store gave, got "${ifMatch}"`);
}
