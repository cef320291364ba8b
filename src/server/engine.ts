/// <reference lib="esnext.disposable" preserve="true" />
/**
 * What a server keeps, and no more: keyed bytes with versions, logs, topics and blobs. This file is all that the
 * author of an engine reads. Every method is required and nothing is validated here: one guard in front of the
 * services has refused what is malformed or too large before an engine sees it.
 *
 * Names of logs, topics and blobs, and keys, are opaque strings; services put their store's name in front, ended by
 * NUL, so that one engine serves every store. "In order" always means the byte order of the UTF-8 form. Bytes that
 * went in or came out are not changed afterwards, by either side.
 *
 * An iteration with a signal ends when that aborts, at once where it has aborted before, and a loop that is left
 * frees what it held.
 */
export interface Engine extends AsyncDisposable {
  /** For log lines and messages: "memory", "disk", "jetstream". */
  readonly name: string;
  /** The time that it goes by. */
  readonly clock: EngineClock;
  /** Keyed bytes with versions. */
  readonly keys: KeyStore;
  /** Records in order. */
  readonly logs: LogStore;
  /** Events for groups of consumers. */
  readonly topics: TopicStore;
  /** Streams of bytes by name. */
  readonly blobs: BlobStore;
  /**
   * Ends every watch, follow and consume, and waits for writes under way; a blob whose content has not ended is not
   * stored. What would have come to an end of its own (a list, a read, a blob's content) does so or fails, and every
   * later call fails, as EngineFault "unavailable". Idempotent.
   */
  close(): Promise<void>;
}

/**
 * An engine's time, in milliseconds. What lasts (leases, delays, ages) goes by a clock that is steady while the engine
 * is open, whatever happens to the wall clock: that only stamps, and tells for how long the engine was closed.
 */
export interface EngineClock {
  /** The steady time: about Unix time when the data began, and no further ahead since than time has passed. */
  now(): number;
  /** The wall clock's time, as Unix time: for stamps. */
  wall(): number;
  /** How long ago the wall clock showed the Unix time `wallMs`, by the steady clock. */
  ageOf(wallMs: number): number;
}

/** One key's value. Versions are one counter for the whole engine: a higher one is newer, whichever the key. */
export type Entry = {
  /** Where it is. */
  key: string;
  /** What is there. */
  value: Uint8Array;
  /** That of the commit that wrote it. */
  version: bigint;
  /** The time of the engine's clock, as its now() tells it, from which on the entry is missing; undefined: it stays. */
  expiresAtMs?: number;
};

/**
 * One part of a commit. `ifVersion` is the condition: the key's current version, or 0n for a key that must be absent.
 * `ttlMs` is the lifetime from the commit on; "keep" leaves what is left of the present one; undefined: no expiry.
 */
export type Write =
  | { type: "set"; key: string; value: Uint8Array; ifVersion?: bigint; ttlMs?: number | "keep" }
  | { type: "delete"; key: string; ifVersion?: bigint }
  | { type: "check"; key: string; ifVersion: bigint };

/** What became of a commit: the version that all its writes now have, or the first write that could not be. */
export type Commit = { version: bigint } | { conflict: Write; actual: Entry | undefined };

/** A key that was written, or that is gone: deleted or expired. */
export type Change = { type: "set"; entry: Entry } | { type: "delete"; key: string };

/** State, locks, sequences, maps and configuration are built on these. */
export interface KeyStore {
  /** The entry at `key`; undefined where there is none or it has expired. */
  get(key: string): Promise<Entry | undefined>;
  /** The entries at `keys`, in their order, as they were at one moment. */
  getMany(keys: readonly string[]): Promise<(Entry | undefined)[]>;
  /** Applies all of `writes`, which name each key at most once, or none. Resolves when the commit is durable. */
  commit(writes: readonly Write[]): Promise<Commit>;
  /** The entries whose keys start with `prefix` and come after the key `after`, in order. */
  list(prefix: string, after?: string): AsyncIterable<Entry>;
  /**
   * Changes under `prefix`, expiry included, from this call on (not from the first read) until `signal` aborts. A
   * reader that falls far behind is told the last change of each key instead of every one, and one that is behind by
   * more keys than the engine can hold fails as EngineFault "full".
   */
  watch(prefix: string, signal: AbortSignal): AsyncIterable<Change>;
}

/** A record as a log keeps it. Offsets begin at 1n and have no gaps; timestamps never go back within a log. */
export type LogRecord = {
  /** Where it stands in the log. */
  offset: bigint;
  /** When it was appended by the wall clock, as Unix time in milliseconds. */
  timestampMs: number;
  /** What was appended. */
  value: Uint8Array;
};

/** How much of a log is kept; the oldest records go first. Undefined fields do not limit. */
export type Retention = {
  /** How old a record may be, in milliseconds. A wall clock that is set does not age it. */
  maxAgeMs?: number;
  /** How many bytes the values may have together. */
  maxBytes?: number;
  /** How many records there may be. */
  maxRecords?: number;
};

/** Logs are built on these. */
export interface LogStore {
  /** Appends all of `values` or none, next to each other. Resolves with their offsets when they are durable. */
  append(log: string, values: readonly Uint8Array[]): Promise<{ first: bigint; last: bigint }>;
  /**
   * Batches of records (none empty) from the offset `from` on, or from the oldest retained one where that is later.
   * With `follow` it waits at the tail for more until `signal` aborts, else it ends there.
   */
  read(
    log: string,
    from: bigint,
    options: { follow: boolean; signal: AbortSignal },
  ): AsyncIterable<LogRecord[]>;
  /** The oldest retained offset, and the one that the next record will get. An unknown log: 1n and 1n. */
  bounds(log: string): Promise<{ first: bigint; next: bigint }>;
  /** The offset of the first retained record with this timestamp or a later one; `next` where there is none. */
  seek(log: string, timestampMs: number): Promise<bigint>;
  /** Keeps no more than this of the log, from now on, replacing what was said before. */
  retain(log: string, retention: Retention): Promise<void>;
}

/** One event on its way to one consumer. Exactly one of the three answers is given; a second one does nothing. */
export type Delivery = {
  /** What was published. */
  value: Uint8Array;
  /** 1 on the first delivery to this group; each further one counts, whatever the reason for it. */
  attempt: number;
  /** Handled: the group does not see it again. */
  ack(): Promise<void>;
  /** Not handled: the group sees it again, `delayMs` from now at the earliest. */
  retry(delayMs: number): Promise<void>;
  /** Given up: as ack(), and counted apart where the engine counts. */
  drop(): Promise<void>;
};

/** Pub/sub is built on these. */
export interface TopicStore {
  /** Publishes all of `values` or none, in this order, to every group of the topic. Durable when it resolves. */
  publish(topic: string, values: readonly Uint8Array[]): Promise<void>;
  /**
   * Joins `group` as one of its competing consumers until `signal` aborts. The group begins with its first consumer
   * (what was published before is not for it) and outlives them all: events wait, as long as the engine is not told
   * to drop them, which it then logs. Each event goes to one consumer
   * at a time, in publish order until a retry; one is claimed by each step of the loop. What is unanswered when
   * the consumer ends goes back to the front of the group, and an answer after that does nothing.
   */
  consume(topic: string, group: string, signal: AbortSignal): AsyncIterable<Delivery>;
  /** Whether the group has events that are not handled, whoever has them in hand; false where there is no such group. */
  hasWaiting(topic: string, group: string): Promise<boolean>;
}

/** What is known of a blob without reading it. */
export type BlobInfo = {
  /** What it was stored as. */
  name: string;
  /** How many bytes it has. */
  size: number;
  /** Of the content, in lower-case hex. */
  sha256: string;
  /** When it was stored, as Unix time in milliseconds. */
  modifiedMs: number;
  /** What was stored with it. */
  metadata: Record<string, string>;
};

/** Files are built on these. */
export interface BlobStore {
  /**
   * Stores `content` under `name` once it has ended; where it throws, nothing changes and its error is rethrown.
   * With `ifAbsent`, undefined where the name is taken: at the beginning or, by a race, at the end.
   */
  put(
    name: string,
    content: AsyncIterable<Uint8Array>,
    options: { metadata: Record<string, string>; ifAbsent: boolean },
  ): Promise<BlobInfo | undefined>;
  /**
   * The blob as it is now, whatever is written meanwhile; undefined where there is none. `offset` past the end and
   * `length` past the end give what there is. The chunks are of any size; the reader leaves them as they are.
   */
  get(
    name: string,
    range?: { offset: number; length?: number },
  ): Promise<{ info: BlobInfo; content: AsyncIterable<Uint8Array> } | undefined>;
  /** What is known of the blob; undefined where there is none. */
  stat(name: string): Promise<BlobInfo | undefined>;
  /** The blobs whose names start with `prefix` and come after `after`, in order. */
  list(prefix: string, after?: string): AsyncIterable<BlobInfo>;
  /** Removes it; false if it was not there. */
  delete(name: string): Promise<boolean>;
}

/** Why an engine could not do what it was properly asked to. */
export class EngineFault extends Error {
  /** "full": a bound of its own is reached; "unavailable": closed or out of reach, and the same call may succeed later. */
  readonly reason: "full" | "unavailable";
  /** The bound that was reached, by the name of the engine's option. */
  readonly limit: { name: string; most: number } | undefined;

  constructor(reason: "full" | "unavailable", message: string, limit?: { name: string; most: number }) {
    super(message);
    this.name = "EngineFault";
    this.reason = reason;
    this.limit = limit;
  }
}
