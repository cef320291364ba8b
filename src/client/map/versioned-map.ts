import { create } from "@bufbuild/protobuf";
import type { CallOptions, Transport } from "@connectrpc/connect";
import { type Value, ValueSchema } from "../../../gen/atomix/pb/map/map_pb.js";
import { checkedName, checkOptions, type OptionType } from "../../lib/checks.js";
import { quote } from "../../lib/quote.js";
import { withHeaders } from "../../rpc/call-headers.js";
import { IF_ABSENT_HEADER } from "../../rpc/extension-headers.js";
import { conditional } from "../../rpc/repeatable.js";
import { type Codec, encoded } from "../codec.js";
import { conditionHeaders } from "../condition-headers.js";
import { retryOnConflict } from "../conflict-retry.js";
import { decodeInto } from "../errors/unreadable.js";
import type { Fence } from "../lock.js";
import type {
  ComputeOptions,
  MapEntry,
  MapOptions,
  MapPutOptions,
  MapRemoveOptions,
  VersionedMap,
} from "../map.js";
import { fnv1a32 } from "./fnv.js";
import { Primaries } from "./primaries.js";

/** A map whose values are encoded by the caller when they are put. */
export type EncodedMap<V> = Omit<VersionedMap<V>, "put"> & {
  putEncoded(key: string, value: Uint8Array, options?: MapPutOptions): Promise<bigint>;
};

/** The map behind createMap(). */
export function versionedMap<V>(
  transport: Transport,
  name: string,
  options: MapOptions,
  codec: Codec<V>,
  base = transport,
  wrap = (other: Transport) => other,
): EncodedMap<V> {
  const failure = `Cannot use map ${quote(name)}`;
  const primaries = new Primaries(failure, { transport, base, wrap, primaries: options.primaries });
  const place: Place<V> = { transport, primaries, name, options, codec };
  return {
    async get(key, call = {}) {
      checkCall(place, "get", key, call);
      const value = await readValue(place, key, call);
      return value && entryOf(place, key, value);
    },
    putEncoded: (key, value, options = {}) => put(place, key, value, options),
    remove: (key, options = {}) => remove(place, key, options),
    compute: (key, change, options = {}) => compute(place, key, change, options),
  };
}

/** A map, and how its values are decoded. */
interface Place<V> {
  readonly transport: Transport;
  readonly primaries: Primaries;
  readonly name: string;
  readonly options: MapOptions;
  readonly codec: Codec<V>;
}

async function put<V>(
  place: Place<V>,
  key: string,
  value: Uint8Array,
  options: MapPutOptions,
): Promise<bigint> {
  const failure = checkCall(place, "put", key, options, CONDITIONS);
  const { ifVersion, ifAbsent = false, fence, ...call } = options;
  if (ifVersion !== undefined && ifAbsent) {
    throw new TypeError(`${failure}: ifVersion and ifAbsent exclude each other`);
  }
  const version = checkedVersion(failure, ifVersion);
  return writeValue(place, key, create(ValueSchema, { value, version }), { ...call, fence, ifAbsent });
}

async function remove<V>(
  place: Place<V>,
  key: string,
  options: MapRemoveOptions,
): Promise<MapEntry<V> | undefined> {
  const failure = checkCall(place, "remove", key, options, CONDITIONS);
  const { ifVersion, fence, ...call } = options;
  const version = checkedVersion(failure, ifVersion);
  const headers = await conditionHeaders(failure, place.transport, { fence }, call);
  const header = headerOf(place, key);
  const write = writeCall(call, headers, version > 0n);
  const { value } = await place.primaries.call(header.partition, write, false, (client, each) =>
    client.remove({ header, key, value: { version } }, each),
  );
  return value && entryOf(place, key, value);
}

async function compute<V>(
  place: Place<V>,
  key: string,
  change: (value: V | undefined) => V | undefined | Promise<V | undefined>,
  options: ComputeOptions,
): Promise<MapEntry<V> | undefined> {
  const failure = checkCall(place, "compute", key, options, CONDITIONS);
  const { fence, ...retry } = options;
  return retryOnConflict(failure, change, retry, {
    read: (call) => readValue(place, key, call),
    decode: (current) => entryOf(place, key, current).value,
    async write(current, value, call) {
      if (value === undefined) {
        const conditions = { ...call, ...(fence && { fence }) };
        if (current) await remove(place, key, { ...conditions, ifVersion: current.version });
        return undefined;
      }
      // The other fields of the message are sent back as they came: a later version of the API may have added some.
      const next: Value = {
        ...(current ?? create(ValueSchema)),
        value: encoded(failure, place.codec, value),
      };
      const version = await writeValue(place, key, next, { ...call, fence, ifAbsent: !current });
      return { key, value, version };
    },
  });
}

async function readValue<V>(place: Place<V>, key: string, call: CallOptions): Promise<Value | undefined> {
  const header = headerOf(place, key);
  const { value } = await place.primaries.call(header.partition, call, true, (client, each) =>
    client.get({ header, key }, each),
  );
  return value;
}

/** Sends Put. A `value` with a version replaces only that version. */
async function writeValue<V>(
  place: Place<V>,
  key: string,
  value: Value,
  { fence, ifAbsent, ...call }: CallOptions & { fence: Fence | undefined; ifAbsent: boolean },
): Promise<bigint> {
  const { transport, primaries } = place;
  const conditions = await conditionHeaders(`Cannot put "${key}"`, transport, { fence, ifAbsent }, call);
  const headers = { ...conditions, ...(ifAbsent && { [IF_ABSENT_HEADER]: "true" }) };
  const isConditional = ifAbsent || value.version > 0n;
  const header = headerOf(place, key);
  const write = writeCall(call, headers, isConditional);
  const { version } = await primaries.call(header.partition, write, false, (client, each) =>
    client.put({ header, key, value }, each),
  );
  return version;
}

/** The address of a key. Every client must compute the same partition, so the hash is part of the contract. */
function headerOf<V>({ name, options }: Place<V>, key: string) {
  const { namespace = "", group = "default", groupNamespace = "", partitions = 1 } = options;
  return {
    protocol: { namespace: groupNamespace, name: group },
    primitive: { namespace, name },
    partition: (fnv1a32(key) % partitions) + 1,
  };
}

const entryOf = <V>({ name, codec }: Place<V>, key: string, { value, version }: Value): MapEntry<V> =>
  decodeInto({ key, value: undefined as V, version }, "value", codec, value, { map: name, key });

/** Checks the key and the options of a call, and returns the beginning of its error messages. */
function checkCall<V>(
  { name }: Place<V>,
  operation: string,
  key: string,
  options: object,
  types?: Record<string, OptionType>,
): string {
  const failure = `Cannot ${operation} ${quote(key)} in map ${quote(name)}`;
  checkedName(`${failure}: the key`, key);
  checkOptions(failure, options, types);
  return failure;
}

/** The call options of a write. A conditional write happens only once, so it may be sent again. */
function writeCall(call: CallOptions, headers: Record<string, string>, isConditional: boolean): CallOptions {
  const options = withHeaders(call, headers);
  return isConditional ? { ...options, contextValues: conditional(call.contextValues) } : options;
}

/** The types of the options of writes. */
const CONDITIONS = { ifVersion: "bigint", ifAbsent: "boolean", fence: "object" } as const;

/** The version on the wire, where 0 means no condition; so 0n is refused. */
function checkedVersion(failure: string, ifVersion: bigint | undefined): bigint {
  if (ifVersion === undefined) return 0n;
  if (ifVersion > 0n) return ifVersion;
  const advice = "to write only where there is no entry, use ifAbsent";
  throw new RangeError(`${failure}: ifVersion must be above 0n, got ${quote(ifVersion)}; ${advice}`);
}
