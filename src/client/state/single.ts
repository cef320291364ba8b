import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Client, Transport } from "@connectrpc/connect";
import {
  StateOptions_StateConcurrency as Concurrency,
  StateOptions_StateConsistency as Consistency,
  Runtime,
  type StateItemSchema,
} from "../../../gen/runtime/state_pb.js";
import { checkedName, checkOptions, type OptionType } from "../../lib/checks.js";
import { quote } from "../../lib/quote.js";
import { withHeaders, withOnHeader } from "../../rpc/call-headers.js";
import { ETAG_HEADER } from "../../rpc/extension-headers/page.js";
import { conditional } from "../../rpc/repeatable.js";
import { wholeSeconds } from "../../rpc/ttl.js";
import { type Codec, encoded } from "../codec.js";
import { decodeInto } from "../errors/unreadable.js";
import { generatedClient } from "../generated-client.js";
import { lazyChunk } from "../lazy.js";
import type { Fence } from "../lock.js";
import type { StateEntry, StateStore, TransactionWriteOptions } from "../state.js";

/** The operations on single entries, which a page loads at once. */
export type SingleOperations<V> = Pick<StateStore<V>, "get" | "set" | "delete">;

/** How the requests of one store are made, for single entries and for many. */
export type StateRequests<V> = ReturnType<typeof stateRequests<V>>;

/** `once`: the conditions of the write let it happen only once, so it may be sent again. */
type WriteConditions = { fence?: Fence | undefined; ifAbsent?: boolean | undefined; once: boolean };

/** The operations of createState() on single entries, and the requests that the others are made of. */
export function singleOperations<V>(
  transport: Transport,
  name: string,
  codec: Codec<V>,
): { requests: StateRequests<V>; operations: SingleOperations<V> } {
  const requests = stateRequests(transport, name, codec);
  const { client, storeName, checkCall, entry, item, removal, write } = requests;
  const operations: SingleOperations<V> = {
    async get(key, options = {}) {
      checkCall("get", key, options, { consistency: ["strong", "eventual"] });
      const { consistency = "unspecified", ...call } = options;
      const request = { storeName, key, consistency: CONSISTENCY[consistency] };
      const { data, etag, metadata } = await client.getState(request, call);
      return entry(key, data, etag, metadata);
    },

    async set(key, value, options = {}) {
      const failure = checkCall("set", key, options);
      const state = item(failure, key, value, options);
      const { ifMatch, ifAbsent, ttlMs, fence, ...call } = options;
      const store = { transport, client, storeName, failure };
      const states = [ifAbsent ? await (await lazyChunk()).createOnly(store, state, call) : state];
      const once = ifMatch !== undefined || ifAbsent === true;
      return write(failure, call, { fence, once }, (call) => client.saveState({ storeName, states }, call));
    },

    async delete(key, options = {}) {
      const failure = checkCall("delete", key, options);
      const { ifMatch, fence, ...call } = options;
      const request = { storeName, ...removal(failure, key, ifMatch) };
      const once = ifMatch !== undefined;
      await write(failure, call, { fence, once }, (call) => client.deleteState(request, call));
    },
  };
  return { requests, operations };
}

function stateRequests<V>(transport: Transport, name: string, codec: Codec<V>) {
  const client: Client<typeof Runtime> = generatedClient(Runtime, transport);
  const storeName = checkedName("the state store", name);

  /** Checks the key and the options of a call, and returns the beginning of its error messages. */
  const checkCall = (
    operation: string,
    key: string,
    options: object,
    types: Record<string, OptionType> = CONDITIONS,
  ): string => {
    const failure = `Cannot ${operation} ${quote(key)} in state store ${quote(name)}`;
    checkedName(`${failure}: the key`, key);
    checkOptions(failure, options, types);
    return failure;
  };

  /** The entry of an answer; undefined if there is none. */
  const entry = (
    key: string,
    data: Uint8Array,
    etag: string,
    metadata: Record<string, string>,
  ): StateEntry<V> | undefined => {
    // An etag without data is a stored empty value. Data without an etag comes from a store that has no etags.
    if (etag === "" && data.length === 0) return undefined;
    const ttl = metadata["ttlRemainingMs"];
    const found = { key, value: undefined as V, etag, ttlRemainingMs: ttl ? Number(ttl) : undefined };
    return decodeInto(found, "value", codec, data, { store: name, key });
  };

  /** The message that stores `value`. */
  const item = (failure: string, key: string, value: V, options: TransactionWriteOptions) => {
    const { ifMatch, ifAbsent, ttlMs } = options;
    if (ifMatch !== undefined && ifAbsent) {
      throw new TypeError(`${failure}: ifMatch and ifAbsent exclude each other`);
    }
    const metadata: Record<string, string> = {};
    if (ttlMs !== undefined) metadata["ttlInSeconds"] = String(wholeSeconds(ttlMs, failure, { least: 0 }));
    return {
      key,
      value: encoded(failure, codec, value),
      metadata,
      ...(ifMatch !== undefined && { etag: { value: checkedEtag(failure, ifMatch) } }),
      ...(ifAbsent && { options: { concurrency: Concurrency.CONCURRENCY_FIRST_WRITE } }),
    } satisfies MessageInitShape<typeof StateItemSchema>;
  };

  /** The message that removes an entry. The Go runtime reads a missing etag as a wrong one here, and "0" as none. */
  const removal = (failure: string, key: string, ifMatch: string | undefined) => ({
    key,
    etag: { value: ifMatch === undefined ? "0" : checkedEtag(failure, ifMatch) },
  });

  return { client, storeName, checkCall, entry, item, removal, write: writer(transport) };
}

/** Sends writes with the headers of their conditions, which the server must support. Returns the new etag. */
const writer =
  (transport: Transport) =>
  async (
    failure: string,
    call: CallOptions,
    conditions: WriteConditions,
    send: (call: CallOptions) => Promise<unknown>,
  ): Promise<string | undefined> => {
    const { fence, ifAbsent, once } = conditions;
    const withConditions =
      fence || ifAbsent
        ? withHeaders(call, await (await lazyChunk()).conditionHeaders(failure, transport, conditions, call))
        : call;
    let etag: string | undefined;
    const options = withOnHeader(withConditions, (headers) => {
      etag = headers.get(ETAG_HEADER) ?? undefined;
    });
    await send(once ? { ...options, contextValues: conditional(call.contextValues) } : options);
    return etag;
  };

const CONSISTENCY = {
  unspecified: Consistency.CONSISTENCY_UNSPECIFIED,
  eventual: Consistency.CONSISTENCY_EVENTUAL,
  strong: Consistency.CONSISTENCY_STRONG,
} as const;

/** The types of the options of writes. */
const CONDITIONS = {
  ifMatch: "string",
  ifAbsent: "boolean",
  ttlMs: "number",
  fence: "object",
} as const satisfies Record<string, OptionType>;

/** On the wire, an empty etag and "0" mean no condition, so they are refused. */
function checkedEtag(failure: string, ifMatch: string): string {
  if (ifMatch !== "" && ifMatch !== "0") return ifMatch;
  throw new TypeError(`${failure}: ifMatch must be an etag that the store gave, got ${quote(ifMatch)}`);
}
