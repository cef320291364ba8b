/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The store of a server: keyed bytes with versions, logs, topics and blobs. This file is all that the author of an
 * engine has to read. Every method is required. An engine validates nothing: names, keys and sizes are checked before
 * it is called.
 *
 * Keys, and the names of logs, topics and blobs, are opaque strings. Services prefix them with their store's name and
 * NUL, so that one engine serves every store. "In order" always means the byte order of the UTF-8 form. Neither side
 * changes bytes that it has passed to the other.
 *
 * An iteration with a signal ends when the signal aborts, or at once if it has aborted before. Breaking out of a loop
 * frees its resources.
 */
export interface Engine extends AsyncDisposable {
  /** Its name in the configuration, the log and messages: "memory", "disk", "jetstream". */
  readonly name: string;
  /** The clock of leases, delays, ages and timestamps. */
  readonly clock: EngineClock;
  /** Keyed bytes with versions. */
  readonly keys: KeyStore;
  /** Records in order. */
  readonly logs: LogStore;
  /** Events for groups of consumers. */
  readonly topics: TopicStore;
  /** Streams of bytes by name. */
  readonly blobs: BlobStore;
  /** The other servers that use the same data. Absent: there are none, as with memory and disk. */
  readonly peers?: PeerMessaging;
  /**
   * Ends every watch, follow and consume, and waits for writes under way. A blob whose content has not ended is not
   * stored. Operations that end by themselves (a list, a read, a blob's content) complete or fail. Every later call
   * fails as EngineFault "unavailable". Idempotent.
   */
  close(): Promise<void>;
}

/**
 * An engine's clock, in milliseconds. Durations (leases, delays, ages) are measured by a clock that is monotonic while
 * the engine is open, so that setting the wall clock does not change them. The wall clock is used for timestamps, and
 * to measure how long the engine was closed.
 */
export interface EngineClock {
  /** The monotonic time. It started at about the Unix time of the first write, and never runs ahead of real time. */
  now(): number;
  /** The wall clock's Unix time, for timestamps. */
  wall(): number;
  /** How long ago the wall clock showed the Unix time `wallMs`, by the monotonic clock. */
  ageOf(wallMs: number): number;
}

/**
 * The value of one key. One counter makes the versions of the whole engine: a higher one is newer, for any two keys.
 */
export type Entry = {
  /** The key. */
  key: string;
  /** The value. */
  value: Uint8Array;
  /** The version of the commit that wrote it. */
  version: bigint;
  /** The time of the engine's clock, by its now(), at which the entry expires. Undefined: it does not expire. */
  expiresAtMs?: number;
};

/**
 * One part of a commit. `ifVersion` is its condition: the key's current version, or 0n for a key that must be absent.
 * `ttlMs` is the lifetime from the commit on. "keep" keeps the time at which the present entry expires. Undefined: the
 * entry does not expire.
 */
export type Write =
  | { type: "set"; key: string; value: Uint8Array; ifVersion?: bigint; ttlMs?: number | "keep" }
  | { type: "delete"; key: string; ifVersion?: bigint }
  | { type: "check"; key: string; ifVersion: bigint };

/**
 * The result of a commit: the version that all its writes now have, or the first write whose condition does not hold.
 */
export type Commit = { version: bigint } | { conflict: Write; actual: Entry | undefined };

/** A change of a key: it was written, or it was deleted or has expired. */
export type Change = { type: "set"; entry: Entry } | { type: "delete"; key: string };

/** The port of state, locks, sequences, maps and configuration. */
export interface KeyStore {
  /** The entry at `key`; undefined if there is none or it has expired. */
  get(key: string): Promise<Entry | undefined>;
  /** The entries at `keys`, in their order, all of the same moment. */
  getMany(keys: readonly string[]): Promise<(Entry | undefined)[]>;
  /** Applies all of `writes`, which name each key at most once, or none. Resolves when the commit is durable. */
  commit(writes: readonly Write[]): Promise<Commit>;
  /** The entries whose keys start with `prefix` and come after the key `after`, in order. */
  list(prefix: string, after?: string): AsyncIterable<Entry>;
  /**
   * Changes under `prefix`, including expiry, from this call on (not from the first read) until `signal` aborts. A
   * reader that falls far behind gets the last change of each key instead of every change. If more keys have changed
   * than the engine can hold, the iteration fails as EngineFault "full".
   */
  watch(prefix: string, signal: AbortSignal): AsyncIterable<Change>;
}

/** A record of a log. Offsets begin at 1n and have no gaps. Timestamps never decrease within a log. */
export type LogRecord = {
  /** The position in the log. */
  offset: bigint;
  /** The wall clock's time of the append, as Unix time in milliseconds. */
  timestampMs: number;
  /** The appended value. */
  value: Uint8Array;
};

/** How much of a log is kept. The oldest records are removed first. Undefined fields do not limit. */
export type Retention = {
  /** The age of records, in milliseconds. Setting the wall clock does not change it. */
  maxAgeMs?: number;
  /** The bytes of all values. */
  maxBytes?: number;
  /** The number of records. */
  maxRecords?: number;
};

/** The port of logs. */
export interface LogStore {
  /** Appends all of `values` or none, next to each other. Resolves with their offsets when they are durable. */
  append(log: string, values: readonly Uint8Array[]): Promise<{ first: bigint; last: bigint }>;
  /**
   * Batches of records, none empty, from the offset `from` on, or from the oldest retained record if that is later.
   * With `follow` it waits at the end of the log for more until `signal` aborts. Otherwise it ends there.
   */
  read(
    log: string,
    from: bigint,
    options: { follow: boolean; signal: AbortSignal },
  ): AsyncIterable<LogRecord[]>;
  /** The oldest retained offset, and the offset of the next record. An unknown log: 1n and 1n. */
  bounds(log: string): Promise<{ first: bigint; next: bigint }>;
  /** The offset of the first retained record with this timestamp or a later one; `next` if there is none. */
  seek(log: string, timestampMs: number): Promise<bigint>;
  /** Limits the log to `retention` from now on, in place of an earlier limit. */
  retain(log: string, retention: Retention): Promise<void>;
}

/** One event on its way to one consumer, which answers once. Further answers do nothing. */
export type Delivery = {
  /** The published value. */
  value: Uint8Array;
  /** 1 for the first delivery to this group, and one more for each further delivery, whatever its reason. */
  attempt: number;
  /** The event was handled: the group does not get it again. */
  ack(): Promise<void>;
  /** The event was not handled: the group gets it again, after `delayMs` at the earliest. */
  retry(delayMs: number): Promise<void>;
  /** The event is given up: as ack(), but counted separately by engines that count. */
  drop(): Promise<void>;
};

/** The port of pub/sub. */
export interface TopicStore {
  /** Publishes all of `values` or none, in this order, to every group of the topic. Durable when it resolves. */
  publish(topic: string, values: readonly Uint8Array[]): Promise<void>;
  /**
   * Creates `group` without a consumer, if it does not exist. When it resolves, the group is durable, and gets what
   * anybody publishes from then on, also through another server that shares the engine.
   */
  createGroup(topic: string, group: string): Promise<void>;
  /**
   * Joins `group` as one of its competing consumers until `signal` aborts. The group begins with its first consumer, so
   * that it does not get what was published before. It outlives all its consumers: events wait for it, unless a bound
   * of the engine drops them, which it logs.
   *
   * Each event goes to one consumer at a time, in publish order until a retry. Each step of the loop claims one event.
   * Events that are unanswered when the consumer ends return to the front of the group. Answers after that do nothing.
   */
  consume(topic: string, group: string, signal: AbortSignal): AsyncIterable<Delivery>;
  /** Whether the group has events that are not handled, including claimed ones; false if there is no such group. */
  hasWaiting(topic: string, group: string): Promise<boolean>;
}

/** The metadata of a blob. */
export type BlobInfo = {
  /** Its name. */
  name: string;
  /** The number of its bytes. */
  size: number;
  /** The SHA-256 of the content, in lower-case hex. */
  sha256: string;
  /** When it was stored, as Unix time in milliseconds. */
  modifiedMs: number;
  /** The key-value pairs that were stored with it. */
  metadata: Record<string, string>;
};

/** The port of files. */
export interface BlobStore {
  /**
   * Stores `content` under `name` when it has ended. If it throws, nothing changes and its error is rethrown. With
   * `ifAbsent` it resolves with undefined if the name is taken, be it at the beginning or, in a race, at the end.
   */
  put(
    name: string,
    content: AsyncIterable<Uint8Array>,
    options: { metadata: Record<string, string>; ifAbsent: boolean },
  ): Promise<BlobInfo | undefined>;
  /**
   * The blob as it is now, whatever is written meanwhile; undefined if there is none. If `offset` or `length` reach
   * past the end, the content ends there. Chunks have any size, and the reader does not change them.
   */
  get(
    name: string,
    range?: { offset: number; length?: number },
  ): Promise<{ info: BlobInfo; content: AsyncIterable<Uint8Array> } | undefined>;
  /** The metadata of the blob; undefined if there is none. */
  stat(name: string): Promise<BlobInfo | undefined>;
  /** The blobs whose names start with `prefix` and come after `after`, in order. */
  list(prefix: string, after?: string): AsyncIterable<BlobInfo>;
  /** Removes the blob; false if there is none. */
  delete(name: string): Promise<boolean>;
}

/** Answers a request of another server. `signal` aborts when the requester has given up or has gone. */
export type PeerHandler = (body: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>;

/**
 * Messages between the servers that use the same data, for what is not stored. Names are opaque strings. A body has any
 * size, and neither side changes bytes that it has passed to the other.
 */
export interface PeerMessaging {
  /** This server among its peers. It is different with each start. */
  readonly id: string;
  /**
   * Answers requests to `name`. Of several servers that serve a name, each request goes to one. Resolves when the
   * servers at the same node can reach it, and the others a moment later, with the function that ends it.
   */
  serve(name: string, handler: PeerHandler): Promise<() => void>;
  /**
   * The answer of one of the servers that serve `name`, which may be this one. Fails as PeerFault, or with the reason of
   * `signal` when that aborts.
   */
  request(name: string, body: Uint8Array, signal: AbortSignal): Promise<Uint8Array>;
  /** Calls `listener` with each broadcast to `name`. Resolves as serve() does, with the function that ends it. */
  subscribe(name: string, listener: (body: Uint8Array) => void): Promise<() => void>;
  /** Sends `body` to all other servers that subscribe to `name`: at most once, and in order. It never fails. */
  broadcast(name: string, body: Uint8Array): void;
}

/** The error of a request to another server. */
export class PeerFault extends Error {
  /**
   * "unserved": no server serves the name, so nothing has happened. "lost": the server that took the request, or a part
   * of the answer, was lost: the request may have been handled. "failed": the handler failed, with this message.
   */
  readonly reason: "unserved" | "lost" | "failed";

  constructor(reason: "unserved" | "lost" | "failed", message: string) {
    super(message);
    this.name = "PeerFault";
    this.reason = reason;
  }
}

/** The error of a correct call that the engine could not carry out. */
export class EngineFault extends Error {
  /**
   * "full": one of its bounds is reached, or its disk is full. "unavailable": the engine is closed or cannot be
   * reached, and the same call may succeed later.
   */
  readonly reason: "full" | "unavailable";
  /** The bound that was reached, by the name of the engine's option; undefined if the disk is full. */
  readonly limit: { name: string; most: number } | undefined;

  constructor(reason: "full" | "unavailable", message: string, limit?: { name: string; most: number }) {
    super(message);
    this.name = "EngineFault";
    this.reason = reason;
    this.limit = limit;
  }
}
