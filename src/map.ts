import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Transport } from "@connectrpc/connect";
import type { RequestHeaderSchema } from "../gen/atomix/pb/headers/headers_pb.js";
import { MapService, type Value, ValueSchema } from "../gen/atomix/pb/map/map_pb.js";
import { type Coding, codecOf } from "./codec.js";
import { conflictFacts, isConflict } from "./errors.js";
import { jitteredMs } from "./internal/backoff.js";
import { callsOf } from "./internal/calls.js";
import { deadline } from "./internal/deadline.js";
import { needExtensions } from "./internal/extensions.js";
import { type Fence, fenceHeader } from "./internal/fence.js";
import { fnv1a32 } from "./internal/fnv.js";
import { withHeaders } from "./internal/headers.js";
import { conditional } from "./internal/retry.js";
import { sleep } from "./internal/timer.js";

/** A value in a map, and the version of its entry. */
export type MapEntry<V> = {
  /** Where it is in the map. */
  key: string;
  /** What is there. */
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
  /** How often to try before the last conflict is thrown. Default: 20. */
  maxAttempts?: number;
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
   * nothing but the version that `change` saw. Where another was faster it waits a little and begins anew, so
   * `change` may run several times. Returns the new entry, undefined where there is none now.
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

/** The map that its servers call `name`. Costs nothing: the first call goes to the server. */
export function createMap<V = unknown>(
  transport: Transport,
  name: string,
  options: MapOptions & Coding<V> = {},
): VersionedMap<V> {
  const { namespace = "", group = "default", groupNamespace = "", partitions = 1 } = options;
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > 2 ** 32 - 1) {
    throw new RangeError(
      `Cannot use map "${name}": partitions must be a whole number above 0, got ${partitions}`,
    );
  }
  const client = callsOf(MapService, transport);
  const codec = codecOf<V>(options);

  /** Where a key is: every client must find the same place, so the hash is part of the contract. */
  const at = (key: string): MessageInitShape<typeof RequestHeaderSchema> => ({
    protocol: { namespace: groupNamespace, name: group },
    primitive: { namespace, name },
    partition: (fnv1a32(key) % partitions) + 1,
  });

  const entry = (key: string, { value, version }: Value): MapEntry<V> => ({
    key,
    value: codec.decode(value),
    version,
  });

  const find = async (key: string, call?: CallOptions): Promise<Value | undefined> =>
    (await client.get({ header: at(key), key }, call)).value;

  const write = async (key: string, value: Value, { fence, ifAbsent, ...call }: Write): Promise<bigint> => {
    if (fence) await needExtensions(transport, `Cannot put "${key}" under a fence`, call.signal);
    if (ifAbsent) await needExtensions(transport, `Cannot put "${key}" only where it is absent`, call.signal);
    const headers = {
      "fairlead-fence": fence && fenceHeader(fence),
      "fairlead-if-absent": ifAbsent ? "true" : undefined,
    };
    const once = ifAbsent || value.version > 0n;
    const { version } = await client.put({ header: at(key), key, value }, sent(call, headers, once));
    return version;
  };

  const map: VersionedMap<V> = {
    async get(key, call) {
      const found = await find(key, call);
      return found && entry(key, found);
    },

    async put(key, value, { ifVersion, ifAbsent = false, fence, ...call } = {}) {
      if (ifVersion !== undefined && ifAbsent) {
        throw new TypeError(`Cannot put "${key}": ifVersion and ifAbsent exclude each other`);
      }
      const version = checkedVersion(`put "${key}"`, ifVersion);
      const message = create(ValueSchema, { value: codec.encode(value), version });
      return write(key, message, { ...call, fence, ifAbsent });
    },

    async remove(key, { ifVersion, fence, ...call } = {}) {
      const version = checkedVersion(`remove "${key}"`, ifVersion);
      if (fence) await needExtensions(transport, `Cannot remove "${key}" under a fence`, call.signal);
      const headers = { "fairlead-fence": fence && fenceHeader(fence) };
      const request = { header: at(key), key, value: { version } };
      const removed = (await client.remove(request, sent(call, headers, version > 0n))).value;
      return removed && entry(key, removed);
    },

    async compute(key, change, { maxAttempts = 20, fence, ...call } = {}) {
      const left = deadline(call, `Cannot compute "${key}"`);
      for (let attempt = 1; ; attempt++) {
        const found = await find(key, left());
        const value = await change(found && codec.decode(found.value));
        if (value === undefined && !found) return undefined;
        try {
          if (value === undefined) {
            await map.remove(key, { ...left(), fence, ifVersion: found?.version });
            return undefined;
          }
          // What else the message holds goes back as it came: fields of a later version of the API.
          const message: Value = { ...(found ?? create(ValueSchema)), value: codec.encode(value) };
          const version = await write(key, message, { ...left(), fence, ifAbsent: !found });
          return { key, value, version };
        } catch (error) {
          // A newer holder of the lock does not go away: there is nothing to try again.
          const fenced = conflictFacts(error)?.fence !== undefined;
          if (!isConflict(error) || fenced || attempt >= maxAttempts) throw error;
        }
        await sleep(jitteredMs({ minMs: 5, maxMs: 500 }, attempt), call.signal);
      }
    },
  };
  return map;
}

type Write = CallOptions & { fence: Fence | undefined; ifAbsent: boolean };

/** `call` with `headers`; where a condition lets the write happen only once, it may be sent again. */
function sent(call: CallOptions, headers: Record<string, string | undefined>, once: boolean): CallOptions {
  const told = withHeaders(call, headers);
  return once ? { ...told, contextValues: conditional(call.contextValues) } : told;
}

/** The version on the wire, where 0 means no condition: what was meant as one must not become none. */
function checkedVersion(what: string, ifVersion: bigint | undefined): bigint {
  if (ifVersion === undefined) return 0n;
  if (ifVersion > 0n) return ifVersion;
  const instead = "to write only where there is no entry, use ifAbsent";
  throw new RangeError(`Cannot ${what}: ifVersion must be above 0, got ${ifVersion}; ${instead}`);
}
