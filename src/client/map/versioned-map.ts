import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Transport } from "@connectrpc/connect";
import type { RequestHeaderSchema } from "../../../gen/atomix/pb/headers/headers_pb.js";
import { MapService, type Value, ValueSchema } from "../../../gen/atomix/pb/map/map_pb.js";
import { checkedName, checkOptions, checkType, type OptionType } from "../../lib/checks.js";
import { checkedCount } from "../../lib/count-checks.js";
import { quote } from "../../lib/quote.js";
import { withHeaders } from "../../rpc/call-headers.js";
import { IF_ABSENT_HEADER } from "../../rpc/extension-headers.js";
import { conditional } from "../../rpc/repeatable.js";
import { type Coding, codecOf, encoded } from "../codec.js";
import { conditionHeaders } from "../condition-headers.js";
import { readValue, retryOnConflict } from "../conflict-retry.js";
import { decodeInto } from "../errors/unreadable.js";
import { generatedClient } from "../generated-client.js";
import type { Fence } from "../lock/fence.js";
import { fnv1a32 } from "./fnv.js";

/** A value in a map, and the version of its entry. */
export type MapEntry<V> = {
  /** Where it is in the map. */
  key: string;
  /** What is there. Where the codec cannot decode it, reading this throws `Code.DataLoss`: see unreadableFacts(). */
  value: V;
  /** Names this version of the entry, for `ifVersion`. A later change of the same partition has a higher one. */
  version: bigint;
};

/** Where a map is, and how it is spread. All clients of a map must say the same. */
export interface MapOptions {
  /** The application that the map belongs to: maps of one name in two namespaces are two maps. Default: "". */
  namespace?: string;
  /** The partition group that holds the map. Default: "default". */
  group?: string;
  /** The deployment that the group belongs to. Default: "". */
  groupNamespace?: string;
  /**
   * How many partitions the map is spread over; versions are counted in each of them. All clients of a map must say
   * the same, as it decides where a key is. Default: 1.
   */
  partitions?: number;
}

/** On which conditions an entry is removed. */
export interface MapRemoveOptions extends CallOptions {
  /** Only over this version, which get() or put() gave, else it fails with `Code.Aborted`. */
  ifVersion?: bigint;
  /** Only while no one else has been granted this lock since, else it fails with `Code.Aborted`. */
  fence?: Fence;
}

/** On which conditions an entry is written. */
export interface MapPutOptions extends MapRemoveOptions {
  /** Only where the key is absent, else it fails with `Code.Aborted`. Default: false. */
  ifAbsent?: boolean;
}

/** How an entry is changed over what was read. */
export interface ComputeOptions extends CallOptions {
  /** How often to try before the last conflict is thrown; Infinity: without end. Default: 20. */
  maxAttempts?: number;
  /** Takes a value that the codec cannot decode for absent, to be replaced. Default: false, it fails with `Code.DataLoss`. */
  replaceUnreadable?: boolean;
  /** As of put(). */
  fence?: Fence;
}

/**
 * Keys and values in partitions, each with one primary server and its backups. Every write gives its entry a version,
 * which grows within a partition and never goes back, so that a write over a version it has not seen can be refused.
 */
export interface VersionedMap<V> {
  /** The entry at `key`, or undefined if there is none. `Get` */
  get(key: string, options?: CallOptions): Promise<MapEntry<V> | undefined>;
  /** Stores `value` and returns its version, once every backup in sync has it too. `Put` */
  put(key: string, value: V, options?: MapPutOptions): Promise<bigint>;
  /** Removes the entry and returns what it was; undefined if there was none, unless `ifVersion` asks for it. `Remove` */
  remove(key: string, options?: MapRemoveOptions): Promise<MapEntry<V> | undefined>;
  /**
   * Replaces the value by what `change` makes of it (undefined where there is none; undefined removes it), over
   * nothing but the version that `change` saw. On a conflict it backs off and begins again, so `change` may
   * run several times. Returns the new entry, undefined where there is none now.
   *
   * To create an entry without overwriting another's, the server needs to know `fairlead-if-absent`; with one that does
   * not it fails with `Code.Unimplemented` where the key is absent, and works where it is not.
   */
  compute(
    key: string,
    change: (value: V | undefined) => V | undefined | Promise<V | undefined>,
    options?: ComputeOptions,
  ): Promise<MapEntry<V> | undefined>;
}

/** The calls of a map, as they are loaded on demand: values to put are encoded before. */
export type VersionedMapCalls<V> = Omit<VersionedMap<V>, "put"> & {
  putEncoded(key: string, value: Uint8Array, options?: MapPutOptions): Promise<bigint>;
};

/** What createMap() gives, but for the encoding of what is put. */
export function versionedMap<V>(
  transport: Transport,
  name: string,
  options: MapOptions & Coding<V>,
): VersionedMapCalls<V> {
  const { namespace = "", group = "default", groupNamespace = "", partitions = 1 } = options;
  const client = generatedClient(MapService, transport);
  const codec = codecOf<V>(options);

  /** Where a key is: every client must find the same place, so the hash is part of the contract. */
  const at = (key: string): MessageInitShape<typeof RequestHeaderSchema> => ({
    protocol: { namespace: groupNamespace, name: group },
    primitive: { namespace, name },
    partition: (fnv1a32(key) % partitions) + 1,
  });

  /** Checks the key and the options of a call, and says what it is in errors. */
  const begin = (doing: string, key: string, options: object, types?: Record<string, OptionType>): string => {
    const what = `Cannot ${doing} ${quote(key)} in map ${quote(name)}`;
    checkedName(`${what}: the key`, key);
    checkOptions(what, options, types);
    return what;
  };

  const entry = (key: string, { value, version }: Value): MapEntry<V> =>
    decodeInto({ key, value: undefined as V, version }, "value", codec, value, { map: name, key });

  const find = async (key: string, call?: CallOptions): Promise<Value | undefined> =>
    (await client.get({ header: at(key), key }, call)).value;

  const write = async (key: string, value: Value, { fence, ifAbsent, ...call }: Write): Promise<bigint> => {
    const conditions = await conditionHeaders(`Cannot put "${key}"`, transport, { fence, ifAbsent }, call);
    const headers = { ...conditions, ...(ifAbsent && { [IF_ABSENT_HEADER]: "true" }) };
    const once = ifAbsent || value.version > 0n;
    const { version } = await client.put({ header: at(key), key, value }, sent(call, headers, once));
    return version;
  };

  const map: VersionedMapCalls<V> = {
    async get(key, call = {}) {
      begin("get", key, call);
      const found = await find(key, call);
      return found && entry(key, found);
    },

    async putEncoded(key, value, options = {}) {
      const what = begin("put", key, options, CONDITIONS);
      const { ifVersion, ifAbsent = false, fence, ...call } = options;
      if (ifVersion !== undefined && ifAbsent) {
        throw new TypeError(`${what}: ifVersion and ifAbsent exclude each other`);
      }
      const version = checkedVersion(what, ifVersion);
      const message = create(ValueSchema, { value, version });
      return write(key, message, { ...call, fence, ifAbsent });
    },

    async remove(key, options = {}) {
      const what = begin("remove", key, options, CONDITIONS);
      const { ifVersion, fence, ...call } = options;
      const version = checkedVersion(what, ifVersion);
      const headers = await conditionHeaders(what, transport, { fence }, call);
      const request = { header: at(key), key, value: { version } };
      const removed = (await client.remove(request, sent(call, headers, version > 0n))).value;
      return removed && entry(key, removed);
    },

    async compute(key, change, options = {}) {
      const what = begin("compute", key, options, { ...CONDITIONS, replaceUnreadable: "boolean" });
      checkType(what, "change", "function", change);
      const { maxAttempts = 20, replaceUnreadable, fence, ...call } = options;
      checkedCount(what, "maxAttempts", maxAttempts);
      return retryOnConflict(what, { call, maxAttempts }, async (left) => {
        const found = await find(key, left());
        const value = await change(readValue(found && entry(key, found), replaceUnreadable));
        return async () => {
          if (value === undefined) {
            if (found) await map.remove(key, { ...left(), fence, ifVersion: found.version });
            return undefined;
          }
          // What else the message holds goes back as it came: fields of a later version of the API.
          const message: Value = {
            ...(found ?? create(ValueSchema)),
            value: encoded(what, codec, value),
          };
          const version = await write(key, message, { ...left(), fence, ifAbsent: !found });
          return { key, value, version };
        };
      });
    },
  };
  return map;
}

type Write = CallOptions & { fence: Fence | undefined; ifAbsent: boolean };

/** `call` with `headers`; where a condition lets the write happen only once, it may be sent again. */
function sent(call: CallOptions, headers: Record<string, string>, once: boolean): CallOptions {
  const told = withHeaders(call, headers);
  return once ? { ...told, contextValues: conditional(call.contextValues) } : told;
}

/** The types of what writes depend on. */
const CONDITIONS = { ifVersion: "bigint", ifAbsent: "boolean", fence: "object" } as const;

/** The version on the wire, where 0 means no condition: what was meant as one must not become none. */
function checkedVersion(what: string, ifVersion: bigint | undefined): bigint {
  if (ifVersion === undefined) return 0n;
  if (ifVersion > 0n) return ifVersion;
  const instead = "to write only where there is no entry, use ifAbsent";
  throw new RangeError(`${what}: ifVersion must be above 0n, got ${quote(ifVersion)}; ${instead}`);
}
