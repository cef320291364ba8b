import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, ConnectError, Transport } from "@connectrpc/connect";
import {
  StateOptions_StateConcurrency as Concurrency,
  StateOptions_StateConsistency as Consistency,
  Runtime,
  type StateItemSchema,
} from "../../gen/runtime/state_pb.js";
import { checkedName, checkOptions, type OptionType } from "../lib/checks.js";
import { quote } from "../lib/quote.js";
import { withHeaders, withOnHeader } from "../rpc/call-headers.js";
import { ETAG_HEADER } from "../rpc/extension-headers.js";
import { conditional } from "../rpc/repeatable.js";
import { wholeSeconds } from "../rpc/ttl.js";
import { type Coding, codecOf, encoded } from "./codec.js";
import { decodeInto } from "./errors/unreadable.js";
import { generatedClient } from "./generated-client.js";
import { lazyChunk } from "./lazy.js";
import type { Fence } from "./lock/fence.js";

/** A stored value and what its store knows about it. */
export type StateEntry<V> = {
  /** Where it is in the store. */
  key: string;
  /** What is there. Where the codec cannot decode it, reading this throws `Code.DataLoss`: see unreadableFacts(). */
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
  /**
   * Only where the key is absent, else it fails with `Code.Aborted`. On a server that is not Fairlead's, set() and update()
   * can do so where its store compares etags as Redis does, which is probed once; elsewhere they fail with
   * `Code.Unimplemented`, and transaction() does. Default: false.
   */
  ifAbsent?: boolean;
  /**
   * Lifetime in milliseconds from the write, in whole seconds, rounded up; 0 takes the expiry away. Default: a new
   * entry stays, one that is overwritten keeps the expiry it has.
   */
  ttlMs?: number;
}

/** How an entry is changed over what was read. */
export interface UpdateOptions extends Pick<WriteOptions, "ttlMs" | "fence">, CallOptions {
  /** How often to try before the last conflict is thrown; Infinity: without end. Default: 20. */
  maxAttempts?: number;
  /** Takes a value that the codec cannot decode for absent, to be replaced. Default: false, it fails with `Code.DataLoss`. */
  replaceUnreadable?: boolean;
}

/** One write of a transaction. */
export type TransactionWriteOptions = Pick<WriteOptions, "ifMatch" | "ifAbsent" | "ttlMs">;

/**
 * Collects the writes of a transaction; a later one sees what an earlier one did. Throws TypeError once the transaction is
 * over.
 */
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
   * nothing but the version that `change` saw. On a conflict it backs off and begins again, so `change` may run
   * several times. Returns the new value.
   */
  update(
    key: string,
    change: (value: V | undefined) => V | undefined | Promise<V | undefined>,
    options?: UpdateOptions,
  ): Promise<V | undefined>;
  /**
   * Does all the writes that `collect` puts in until it returns, or its promise resolves, or none; where it throws, none.
   * Returns the etag that they share, undefined where the server
   * does not tell or nothing was put in. `ExecuteStateTransaction`
   */
  transaction(
    collect: (tx: StateTransaction<V>) => void | Promise<void>,
    options?: Pick<RemoveOptions, "fence"> & CallOptions,
  ): Promise<string | undefined>;
}

/** The state store that the server calls `name`. Costs nothing: the first call goes to the server. */
export function createState<V = unknown>(
  transport: Transport,
  name: string,
  coding: Coding<V> = {},
): StateStore<V> {
  const client = generatedClient(Runtime, transport);
  const codec = codecOf(coding);
  const storeName = checkedName("the state store", name);

  const cannot = (what: string, key?: string) =>
    `Cannot ${what}${key === undefined ? " in" : ` ${quote(key)} in`} state store ${quote(name)}`;

  /** Checks the key and the options of a call, and says what it is in errors. */
  const begin = (doing: string, key: string, options: object, types?: Record<string, OptionType>): string => {
    const what = cannot(doing, key);
    checkedName(`${what}: the key`, key);
    checkOptions(what, options, types);
    return what;
  };

  const entry = (key: string, data: Uint8Array, etag: string, metadata: Record<string, string>) => {
    // An etag without data is a stored empty value; data without an etag comes from a store that has no etags.
    if (etag === "" && data.length === 0) return undefined;
    const left = metadata["ttlRemainingMs"];
    const found = { key, value: undefined as V, etag, ttlRemainingMs: left ? Number(left) : undefined };
    return decodeInto(found, "value", codec, data, { store: name, key });
  };

  const item = (key: string, value: V, options: TransactionWriteOptions) => {
    const what = begin("set", key, options, CONDITIONS);
    const { ifMatch, ifAbsent, ttlMs } = options;
    if (ifMatch !== undefined && ifAbsent) {
      throw new TypeError(`${what}: ifMatch and ifAbsent exclude each other`);
    }
    const metadata: Record<string, string> = {};
    if (ttlMs !== undefined) metadata["ttlInSeconds"] = String(wholeSeconds(ttlMs, what, { least: 0 }));
    return {
      key,
      value: encoded(what, codec, value),
      metadata,
      ...(ifMatch !== undefined && { etag: { value: checkedEtag(what, ifMatch) } }),
      ...(ifAbsent && { options: { concurrency: Concurrency.CONCURRENCY_FIRST_WRITE } }),
    } satisfies MessageInitShape<typeof StateItemSchema>;
  };

  const removal = (key: string, options: RemoveOptions) => {
    const what = begin("delete", key, options, CONDITIONS);
    const { ifMatch } = options;
    // The Go runtime takes a missing etag for a wrong one here, and "0" for none.
    return { key, etag: { value: ifMatch === undefined ? "0" : checkedEtag(what, ifMatch) } };
  };

  /** Sends a write with its fence, after learning whether the server can keep what is asked for. */
  const write = async (
    what: string,
    call: CallOptions,
    conditions: { fence?: Fence | undefined; ifAbsent?: boolean | undefined; once: boolean },
    send: (call: CallOptions) => Promise<unknown>,
  ): Promise<string | undefined> => {
    const { fence, ifAbsent, once } = conditions;
    const headers =
      fence || ifAbsent ? await (await lazyChunk()).conditionHeaders(what, transport, conditions, call) : {};
    let etag: string | undefined;
    const told = withOnHeader(withHeaders(call, headers), (headers) => {
      etag = headers.get(ETAG_HEADER) ?? undefined;
    });
    await send(once ? { ...told, contextValues: conditional(call.contextValues) } : told);
    return etag;
  };

  const store: StateStore<V> = {
    async get(key, options = {}) {
      begin("get", key, options, { consistency: ["strong", "eventual"] });
      const { consistency = "unspecified", ...call } = options;
      const request = { storeName, key, consistency: CONSISTENCY[consistency] };
      const { data, etag, metadata } = await client.getState(request, call);
      return entry(key, data, etag, metadata);
    },

    getMany: async (...args) => (await lazyChunk()).getManyEntries(parts, ...args),

    async set(key, value, options = {}) {
      const state = item(key, value, options);
      const { ifMatch, ifAbsent, ttlMs, fence, ...call } = options;
      const what = cannot("set", key);
      const store = { transport, client, storeName, what };
      const states = [ifAbsent ? await (await lazyChunk()).createOnly(store, state, call) : state];
      const once = ifMatch !== undefined || ifAbsent === true;
      return write(what, call, { fence, once }, (call) => client.saveState({ storeName, states }, call));
    },

    async delete(key, options = {}) {
      const request = { storeName, ...removal(key, options) };
      const { ifMatch, fence, ...call } = options;
      const once = ifMatch !== undefined;
      await write(cannot("delete", key), call, { fence, once }, (call) => client.deleteState(request, call));
    },

    update: async (...args) => (await lazyChunk()).updateEntry(parts, ...args),
    transaction: async (...args) => (await lazyChunk()).transact(parts, ...args),
  };
  const parts = {
    client,
    storeName,
    conditions: CONDITIONS,
    cannot,
    begin,
    entry,
    item,
    removal,
    write,
    store,
  };
  return store;
}

const CONSISTENCY = {
  unspecified: Consistency.CONSISTENCY_UNSPECIFIED,
  eventual: Consistency.CONSISTENCY_EVENTUAL,
  strong: Consistency.CONSISTENCY_STRONG,
} as const;

/** The types of what writes depend on. */
const CONDITIONS = {
  ifMatch: "string",
  ifAbsent: "boolean",
  ttlMs: "number",
  fence: "object",
} as const satisfies Record<string, OptionType>;

/** An empty etag and "0" mean no condition on the wire: what was meant as one must not become none. */
function checkedEtag(what: string, ifMatch: string): string {
  if (ifMatch !== "" && ifMatch !== "0") return ifMatch;
  throw new TypeError(`${what}: ifMatch must be an etag that the store gave, got ${quote(ifMatch)}`);
}
