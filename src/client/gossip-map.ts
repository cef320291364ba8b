/// <reference lib="esnext.disposable" preserve="true" />
import type { CallOptions, Transport } from "@connectrpc/connect";
import type { Coding } from "./codec.js";
import type { GossipPersistence } from "./gossip-persistence.js";
import { lazyChunk } from "./lazy.js";

/** How a gossip map is opened. The other call options, such as `headers`, apply to every stream to the server. */
export interface GossipMapOptions extends CallOptions {
  /** The peer group that the map belongs to. Default: "default". */
  namespace?: string;
  /** The id of this member, which must be unique among the members. Default: a random one. */
  memberId?: string;
  /**
   * Keeps the map, so that the next visit has it before the network is there, and sends what was not sent: see
   * `indexedDbPersistence` of `fairlead/web` and `filePersistence` of `fairlead/node`. Maps of different servers need
   * different databases or folders. Default: the map is in memory only.
   */
  persist?: GossipPersistence;
  /**
   * Whether the tabs and workers of an origin that keep the map in the same storage share one stream to the server: one
   * of them has it, and the others exchange changes with that one. Needs Web Locks and BroadcastChannel, which all
   * browsers have in secure contexts; else, each tab has a stream. Default: true.
   */
  shareTabs?: boolean;
  /**
   * True: opens the map at once, with what is stored, and catches up when the server can be reached. False: opening
   * waits for all entries of the server, and fails if it cannot be reached. Default: true with `persist`, else false.
   */
  offline?: boolean;
  /** Aborts opening; after that, closes the map. */
  signal?: AbortSignal;
  /** The deadline of opening, in milliseconds; 0: none. Default: 15 000. */
  timeoutMs?: number;
  /** How long a write waits for further writes to be sent together with, in milliseconds. Default: 50. */
  flushMs?: number;
  /** How often the map is compared with the server's while it changes, in milliseconds. Default: 1000. */
  antiEntropyMs?: number;
  /** How long the tombstone of a removed key is kept at least, in milliseconds. Default: 24 hours, as on the server. */
  tombstoneMs?: number;
  /**
   * How far the clocks of other members may be ahead, in milliseconds: entries that are further ahead are not stored.
   * Default: 60 000, as on the server.
   */
  maxAheadMs?: number;
}

/** How an entry of a gossip map is stored. */
export interface GossipSetOptions {
  /**
   * The lifetime of the entry, in milliseconds: after it the key is absent on every member, also on one that is offline,
   * which changes() reports as a removal. Above 0, rounded up to whole milliseconds, and at most 2 147 483 647 seconds
   * (68 years). Writing the key again replaces it. Default: none; the entry stays until it is replaced or removed.
   */
  ttlMs?: number;
  /**
   * True: the entry belongs to this member, and lasts while it is there. close() removes it at once; the server, about
   * 3 seconds after the connection was lost (`gossip.memberGraceMs`), and it is back when the member is. If the server is
   * lost with the member, it ends after 90 seconds. Cannot be combined with `ttlMs`. Default: false.
   */
  ephemeral?: boolean;
}

/**
 * The difference between the value of a key now and at the last step of the loop. `local`: the last change was made
 * through this map. If the codec cannot decode `value`, reading it throws `Code.DataLoss`: see unreadableFacts(). A
 * `previous` value that cannot be decoded is undefined.
 */
export type GossipChange<V> = { key: string; local: boolean } & (
  | { type: "insert"; value: V }
  | { type: "update"; value: V; previous: V | undefined }
  | { type: "remove"; previous: V | undefined }
);

/**
 * How a gossip map is connected to the server.
 *
 * - "syncing": connecting for the first time, or comparing the copy with the server's.
 * - "connected": the copy is up to date.
 * - "behind": connected, but the server has not confirmed a write for 5 to 10 s, or has no room for it.
 * - "offline": the connection was lost or could not be made. The client reconnects by itself.
 * - "closed": the map was closed, or the server refused this member for good. No other state follows.
 */
export type GossipMapState = "syncing" | "connected" | "behind" | "offline" | "closed";

/** A state of a gossip map, with the time and the reason of the change to it. */
export interface GossipMapStatusChange {
  /** The state of the connection. */
  readonly current: GossipMapState;
  /** The time of the change to this state, in Unix milliseconds: with "offline", since when it is. */
  readonly sinceMs: number;
  /** The reason for "offline", "closed" or "behind", if there is one; undefined after a close on purpose. */
  readonly error: unknown;
  /** The number of keys whose last write the server has not confirmed. With `persist`, they are stored. */
  readonly unsent: number;
  /**
   * Why `persist` does not store: the storage is full, damaged or open elsewhere. The map goes on in memory, and tries
   * to store everything again, unless it could not be opened. Undefined: all writes are stored, or will be soon.
   */
  readonly storageError: unknown;
}

/** The status of a gossip map: readable at any time, with a stream of its changes. */
export interface GossipMapStatus extends GossipMapStatusChange {
  /**
   * Every change from this call on; a reader that falls behind gets only the latest. Ends after "closed". Aborting
   * throws `Code.Canceled`.
   */
  changes(options?: { signal?: AbortSignal }): AsyncIterableIterator<GossipMapStatusChange, undefined>;
}

/**
 * A map of which every member has a full copy. Reads and writes are local and immediate, with or without a connection.
 * Members exchange changes through the server, and all copies converge: of two writes to a key, the later one wins
 * everywhere.
 *
 * A member that was offline for longer than tombstones are kept starts afresh: it gets the map of the server again, and its
 * unsent writes count as made then.
 */
export interface GossipMap<V> extends AsyncDisposable {
  /** The name of the map. */
  readonly name: string;
  /** The id of this member, which is part of its writes. */
  readonly memberId: string;
  /** The connection to the server, the number of unsent writes, and errors of the storage. */
  readonly status: GossipMapStatus;
  /** Whether the server answers and the copy has caught up: `status` is "connected" or "behind". */
  readonly connected: boolean;
  /** The number of keys. */
  readonly size: number;
  /** How often an entry of another member was not stored, because its clock is more than `maxAheadMs` ahead. */
  readonly refused: number;
  /**
   * The value at `key`; undefined if there is none. Returns the same object until the value changes; do not modify it.
   * Throws `Code.DataLoss` if the codec cannot decode the value of another member: see unreadableFacts().
   */
  get(key: string): V | undefined;
  /** Whether there is a value at `key`, even one that the codec cannot decode. */
  has(key: string): boolean;
  /** The keys in byte order. */
  keys(): IterableIterator<string>;
  /** The keys and values in key order, without values that the codec cannot decode: get() throws their error. */
  entries(): IterableIterator<[key: string, value: V]>;
  /** The same as entries(). */
  [Symbol.iterator](): IterableIterator<[key: string, value: V]>;
  /**
   * Stores `value` here and sends it to the other members; synced() waits for the server. Throws TypeError or RangeError
   * if the key, the value or the lifetime is invalid. `Connect`
   */
  set(key: string, value: V, options?: GossipSetOptions): void;
  /** Removes `key`; false if it was not there. `Connect` */
  delete(key: string): boolean;
  /** Removes all keys. `Connect` */
  clear(): void;
  /**
   * The changes from this call on, of this member and of others; several changes of a key between two steps of the loop
   * become one. Ends when the map is closed; throws if the server refuses this member or its entries for good.
   */
  changes(options?: { signal?: AbortSignal }): AsyncIterableIterator<GossipChange<V>, undefined, undefined>;
  /**
   * Resolves when the server has confirmed all writes so far, even if the connection is lost meanwhile. Rejects if the
   * server refuses them, for example with `Code.ResourceExhausted` because the map is full there.
   */
  synced(options?: Pick<CallOptions, "signal" | "timeoutMs">): Promise<void>;
  /** Sends pending writes if there is a connection, and leaves. The map can still be read. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens this member's copy of the gossip map `name`, which must be closed. The code for it is loaded by the first call.
 * `GossipMapService.Connect`
 *
 * @example
 * ```ts
 * import { openGossipMap } from "fairlead";
 * import { createNodeTransport } from "fairlead/node";
 *
 * const map = await openGossipMap<string>(createNodeTransport("http://localhost:34904"), "example");
 * map.set("ada", "online");
 * await map.synced();
 * console.log(map.get("ada")); // online
 * await map.close();
 * ```
 */
export async function openGossipMap<V = unknown>(
  transport: Transport,
  name: string,
  options: GossipMapOptions & Coding<V> = {},
): Promise<GossipMap<V>> {
  return (await lazyChunk()).loadGossipMap(transport, name, options);
}
