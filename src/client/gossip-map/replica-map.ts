/// <reference lib="esnext.disposable" preserve="true" />
import type { CallOptions, ConnectError, Transport } from "@connectrpc/connect";
import { GossipMapService, type MapValue } from "../../../gen/atomix/map/map_pb.js";
import { Replica, type Stored } from "../../gossip/replica.js";
import { live } from "../../gossip/version.js";
import { cancelable } from "../../lib/cancelable-iterator.js";
import { checkedName, checkOptions } from "../../lib/checks.js";
import { checkedMs } from "../../lib/count-checks.js";
import { asyncDispose } from "../../lib/dispose.js";
import { onAbort } from "../../lib/on-abort.js";
import { quote } from "../../lib/quote.js";
import { randomId } from "../../lib/random-id.js";
import { canceled } from "../../rpc/canceled.js";
import { openFor } from "../client-lifetime.js";
import { type Codec, type Coding, codecOf, encoded } from "../codec.js";
import { decodeInto } from "../errors/unreadable.js";
import { generatedClient } from "../generated-client.js";
import { ConnectionStatus } from "../status/connection-status.js";
import type { Status } from "../status.js";
import { Changes, type Difference } from "./changes.js";
import { Uplink } from "./sync.js";

/** How a gossip map is opened; `headers` and the like go with every stream to the server. */
export interface GossipMapOptions extends CallOptions {
  /** The peer group that the map belongs to. Default: "default". */
  namespace?: string;
  /** The id of this member, which no other may have. Default: a random one. */
  memberId?: string;
  /**
   * True opens the map at once, empty, to catch up when the server can be reached. Default: false, opening waits for
   * everything that the server has, and fails where it cannot be reached.
   */
  offline?: boolean;
  /** Aborting it gives up opening the map, and closes it later on. */
  signal?: AbortSignal;
  /** How long opening may take, in milliseconds; 0: for ever. Default: 15 000. */
  timeoutMs?: number;
  /** How long a write waits for others before it is sent, in milliseconds. Default: 50. */
  flushMs?: number;
  /** How often the map is compared with the server's while there are changes, in milliseconds. Default: 1000. */
  antiEntropyMs?: number;
  /** How long a removed key is remembered at least, in milliseconds. Default: 24 hours, as the server does. */
  tombstoneMs?: number;
}

/**
 * How the value of a key differs from what the loop was told last. `local`: it was changed through this map, not by
 * another member. Where the codec cannot decode `value`, reading it throws `Code.DataLoss`: see unreadableFacts(). Such a
 * one is undefined as `previous`.
 */
export type GossipChange<V> = { key: string; local: boolean } & (
  | { type: "insert"; value: V }
  | { type: "update"; value: V; previous: V | undefined }
  | { type: "remove"; previous: V | undefined }
);

/**
 * A map of which every member holds a full copy. Reading and writing is local, at once, with or without a connection;
 * changes travel to the other members through the server, and copies that were apart end up alike once they can
 * talk: of two writes to a key the later one stays, everywhere.
 *
 * A member that was away for longer than tombstones are kept may bring removed keys back.
 */
export interface GossipMap<V> extends AsyncDisposable {
  /** What it was opened as. */
  readonly name: string;
  /** This member's id, which its writes carry. */
  readonly memberId: string;
  /** The connection to the server; "closed" also where the server refused for good. */
  readonly status: Status;
  /** Whether `status` is "connected". */
  readonly connected: boolean;
  /** How many keys there are. */
  readonly size: number;
  /**
   * The value at `key`, or undefined if there is none. It is the same object until it changes, not to be written to.
   * Throws `Code.DataLoss` where another member put something there that the codec cannot decode: see unreadableFacts().
   */
  get(key: string): V | undefined;
  /** Whether there is a value at `key`, one that the codec cannot read included. */
  has(key: string): boolean;
  /** The keys in byte order. */
  keys(): IterableIterator<string>;
  /** Keys and values in key order, without those that the codec cannot read: get() tells what is wrong with them. */
  entries(): IterableIterator<[key: string, value: V]>;
  /** The same as entries(). */
  [Symbol.iterator](): IterableIterator<[key: string, value: V]>;
  /** Stores `value` here, and tells the others soon; synced() waits for that. `Connect` */
  set(key: string, value: V): void;
  /** Removes `key`; false if it was not there. `Connect` */
  delete(key: string): boolean;
  /** Removes every key that there is. `Connect` */
  clear(): void;
  /**
   * What changes from this call on, here and elsewhere; changes of one key between two steps of the loop are told as
   * one. Ends when the map is closed; throws where the server refuses for good what this member is or sends.
   */
  changes(options?: { signal?: AbortSignal }): AsyncIterableIterator<GossipChange<V>, undefined, undefined>;
  /**
   * Resolves once the server has confirmed everything that is set so far, however often the connection is lost until
   * then. Rejects where it refuses: with `Code.ResourceExhausted` where the map is full there, for instance.
   */
  synced(options?: Pick<CallOptions, "signal" | "timeoutMs">): Promise<void>;
  /** Sends what waits, where there is a connection, and leaves. What is in the map can still be read. Idempotent. */
  close(): Promise<void>;
}

/** What openGossipMap() does. */
export async function joinGossipMap<V>(
  transport: Transport,
  name: string,
  options: GossipMapOptions & Coding<V>,
): Promise<GossipMap<V>> {
  const {
    namespace = "default",
    memberId = randomId(),
    offline = false,
    flushMs = 50,
    antiEntropyMs = 1000,
    tombstoneMs = 24 * 3_600_000,
    timeoutMs = 15_000,
    signal,
    ...call
  } = options;
  const what = `Cannot open gossip map ${quote(name)}`;
  checkedName("the gossip map", name);
  checkOptions(what, options, { namespace: "string", memberId: "string", offline: "boolean" });
  checkedName(`${what}: namespace`, namespace);
  checkedName(`${what}: memberId`, memberId);
  checkedMs(what, "flushMs", flushMs);
  checkedMs(what, "antiEntropyMs", antiEntropyMs, { least: 1 });
  checkedMs(what, "tombstoneMs", tombstoneMs, { endless: true });
  if (signal?.aborted) throw canceled(signal);
  const client = generatedClient(GossipMapService, transport);
  const codec = codecOf<V>(options);
  const read = reader(name, codec);
  const replica = new Replica(memberId, { tombstoneMs });
  const loops = new Set<Changes>();
  let refused: ConnectError | undefined;
  let closing: Promise<void> | undefined;
  let size = 0;

  const tell = (stored: Stored, local: boolean) => {
    size += Number(live(stored.after) !== undefined) - Number(live(stored.before) !== undefined);
    for (const loop of loops) loop.add(stored, local);
  };
  const unregister = openFor(transport, () => map.close());
  const status = new ConnectionStatus().begin();
  const uplink = new Uplink({
    replica,
    status,
    source: memberId,
    target: { namespace, name },
    flushMs,
    antiEntropyMs,
    open: (messages, signal) => client.connect(messages, { ...call, signal, timeoutMs: 0 }),
    onStored: (stored) => tell(stored, false),
    onRefused: (error) => {
      refused = error;
      end(error);
      for (const loop of loops) loop.fail(error);
    },
  });
  const stopListening = onAbort(signal, () => void map.close());
  const end = (error?: unknown) => {
    unregister();
    stopListening();
    status.close(error);
  };
  const write = (what: string, change: () => Stored[]): number => {
    if (closing) throw new TypeError(`Cannot ${what}: the gossip map "${name}" is closed`);
    const written = change();
    for (const stored of written) {
      tell(stored, true);
      uplink.changed(stored.key);
    }
    return written.length;
  };

  const map: GossipMap<V> = {
    name,
    memberId,
    status,
    get connected() {
      return status.current === "connected";
    },
    get size() {
      return size;
    },
    get(key) {
      const entry = live(replica.get(checkedKey("get", key)));
      return entry && read(key, entry).value;
    },
    has: (key) => live(replica.get(checkedKey("look for", key))) !== undefined,
    *keys() {
      for (const key of replica.keys()) if (map.has(key)) yield key;
    },
    *entries() {
      for (const key of replica.keys()) {
        const entry = live(replica.get(key));
        const found = entry && read(key, entry);
        if (found && isReadable(found)) yield [key, found.value];
      }
    },
    [Symbol.iterator]: () => map.entries(),
    set(key, value) {
      const what = `Cannot set ${quote(key)} in gossip map ${quote(name)}`;
      checkedKey("set", key);
      write(`set "${key}"`, () => [replica.set(key, checkedBytes(what, encoded(what, codec, value)))]);
    },
    delete: (key) => write(`delete "${checkedKey("delete", key)}"`, () => replica.delete([key])) > 0,
    clear() {
      write("clear", () => replica.delete(replica.keys()));
    },
    changes({ signal } = {}) {
      const loop = new Changes();
      if (refused) loop.fail(refused);
      else if (closing) loop.end();
      else loops.add(loop);
      return cancelable((signal) => told(loop.read(signal), read), {
        signal,
        onEnd: () => loops.delete(loop),
      });
    },
    async synced(options = {}) {
      checkOptions(`Cannot wait for gossip map ${quote(name)}`, options);
      await uplink.synced(options);
    },
    close() {
      for (const loop of loops) loop.end();
      return (closing ??= uplink.close().finally(end));
    },
    [asyncDispose]: () => map.close(),
  };

  try {
    if (!offline) await uplink.caughtUp({ signal, timeoutMs });
    return map;
  } catch (error) {
    await map.close();
    throw error;
  }
}

/** A value as it was decoded; reading one that cannot be decoded throws. */
type Decoded<V> = { value: V };
type Read<V> = (key: string, entry: MapValue) => Decoded<V>;

/** Decodes each entry once, when it is first asked for. */
function reader<V>(map: string, codec: Codec<V>): Read<V> {
  const known = new WeakMap<MapValue, Decoded<V>>();
  return (key, entry) => {
    let found = known.get(entry);
    if (!found) {
      found = decodeInto({ value: undefined as V }, "value", codec, entry.value, { map, key });
      known.set(entry, found);
    }
    return found;
  };
}

/** Whether the value is there to be read, and not a getter that throws. */
const isReadable = (found: Decoded<unknown>): boolean =>
  Object.getOwnPropertyDescriptor(found, "value")?.get === undefined;

async function* told<V>(
  differences: AsyncIterable<Difference>,
  read: Read<V>,
): AsyncGenerator<GossipChange<V>, void, undefined> {
  for await (const { key, before, after, local } of differences) {
    const earlier = before && read(key, before);
    const previous = earlier && isReadable(earlier) ? earlier.value : undefined;
    const now = after && read(key, after);
    // The property as it is, so that what cannot be decoded still fails only when it is read.
    const value = now && (Object.getOwnPropertyDescriptor(now, "value") as PropertyDescriptor);
    const base = { key, local };
    if (!value) yield { type: "remove", ...base, previous };
    else if (before)
      yield withValue<V, "update">({ type: "update", ...base, value: undefined, previous }, value);
    else yield withValue<V, "insert">({ type: "insert", ...base, value: undefined }, value);
  }
}

const withValue = <V, T extends GossipChange<V>["type"]>(change: object, value: PropertyDescriptor) =>
  Object.defineProperty(change, "value", value) as GossipChange<V> & { type: T };

const checkedKey = (doing: string, key: string): string =>
  checkedName(`Cannot ${doing} ${quote(key)} in a gossip map: the key`, key);

/** The contract's bound: what a server refuses would stand in the way of everything else that is to be synced. */
const VALUE_BYTES = 4 * 1024 ** 2 - 16 * 1024;

function checkedBytes(what: string, bytes: Uint8Array): Uint8Array {
  if (bytes.length > VALUE_BYTES) {
    throw new RangeError(`${what}: a value must have at most ${VALUE_BYTES} bytes, it has ${bytes.length}`);
  }
  // A copy: a codec may hand on the caller's own bytes.
  return bytes.slice();
}
