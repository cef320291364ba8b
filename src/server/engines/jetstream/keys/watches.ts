import { type Change, EngineFault } from "../../../engine.js";
import { ChangeFeed } from "../../shared/change-feed.js";
import { OrderedFeed } from "../ordered-feed.js";
import type { JetStreamSession } from "../session.js";
import { MARKER_TTL_MS, streamName, subjectPrefix } from "../streams.js";
import { filterOfPrefix, filtersOfSubject } from "./key-subjects.js";
import type { KeyReader } from "./reader.js";
import { RecentDeletions } from "./recent-deletions.js";
import { asEntry, type StoredEntry, storedEntryOf } from "./stored-entry.js";

/** The keys with hashed subjects that one consumer remembers, as nats-server's markers do not have them. */
const MAX_HASHED = 10_000;

/** Deletions are not known for longer: a watch whose consumer was away for this long may have missed some. */
const MAX_AWAY_MS = MARKER_TTL_MS - 60_000;

/** The messages of this server that may wait for the consumer. If there are more, the consumer's are enough. */
const MAX_WRITTEN = 10_000;

/** A change with the sequence of its message. */
type SequencedChange = Change & { sequence: number };

/** A watch: whether it counts the changes up to a sequence depends on when it began. */
interface WatchStart {
  /** Resolves with the sequence after which it starts. */
  after: Promise<number>;
  /** That sequence, once it is known. */
  startedAfter?: number;
  /** Aborts with the error if it cannot start. */
  failure: AbortSignal;
}

/** The watches of one server. Those of the same keyspace share a consumer. */
export class Watches {
  readonly #session: JetStreamSession;
  readonly #reader: KeyReader;
  readonly #maxBacklog: number;
  readonly #root: string;
  readonly #shared = new Map<string, SharedWatch>();
  #isClosed = false;

  constructor(session: JetStreamSession, reader: KeyReader, maxBacklog: number) {
    this.#session = session;
    this.#reader = reader;
    this.#maxBacklog = maxBacklog;
    this.#root = subjectPrefix(session.name, "keys");
  }

  watch(prefix: string, signal: AbortSignal): AsyncIterable<Change> {
    // It ends at once.
    if (signal.aborted) return new ChangeFeed(this.#maxBacklog).watch(prefix, signal);
    const filter = filterOfPrefix(this.#root, prefix);
    let shared = this.#shared.get(filter);
    if (!shared) {
      shared = this.#share(filter);
      this.#shared.set(filter, shared);
    }
    const joined = shared;
    const start = joined.join();
    const leave = () => {
      signal.removeEventListener("abort", leave);
      if (joined.leave(start)) this.#remove(joined);
    };
    signal.addEventListener("abort", leave, { once: true });
    const changes = joined.feed.watch(prefix, AbortSignal.any([signal, start.failure]));
    return this.#read(changes as AsyncIterable<SequencedChange>, start, leave);
  }

  /**
   * Adds a message that this server has written. The stream keeps the last message of each key: if there are two within
   * a moment, the consumer gets only the second one.
   */
  addWritten(stored: StoredEntry): void {
    if (this.#shared.size === 0) return;
    for (const filter of filtersOfSubject(this.#root, stored.subject))
      this.#shared.get(filter)?.addWritten(stored);
  }

  close(): void {
    this.#isClosed = true;
    for (const shared of this.#shared.values()) shared.close();
    this.#shared.clear();
  }

  #share(filter: string): SharedWatch {
    const shared: SharedWatch = new SharedWatch({
      session: this.#session,
      reader: this.#reader,
      filter,
      maxBacklog: this.#maxBacklog,
      onFailure: () => this.#remove(shared),
    });
    return shared;
  }

  #remove(shared: SharedWatch): void {
    if (this.#shared.get(shared.filter) === shared) this.#shared.delete(shared.filter);
  }

  async *#read(
    changes: AsyncIterable<SequencedChange>,
    { after, failure }: WatchStart,
    leave: () => void,
  ): AsyncGenerator<Change, void, undefined> {
    try {
      for await (const change of changes) {
        if (change.sequence <= (await after)) continue;
        yield change.type === "set"
          ? { type: "set", entry: change.entry }
          : { type: "delete", key: change.key };
      }
      if (failure.aborted && !this.#isClosed) throw failure.reason;
    } finally {
      leave();
    }
  }
}

interface SharedWatchOptions {
  session: JetStreamSession;
  reader: KeyReader;
  filter: string;
  maxBacklog: number;
  /** Called when it cannot go on, and all its watches have failed. */
  onFailure: () => void;
}

/** The watches with one filter: one consumer, which starts with the first of them and stops with the last. */
class SharedWatch {
  readonly feed: ChangeFeed;
  readonly filter: string;
  readonly #session: JetStreamSession;
  readonly #reader: KeyReader;
  readonly #onFailure: () => void;
  readonly #root: string;
  readonly #watches = new Set<WatchStart>();
  readonly #hashed = new Map<string, string>();
  readonly #deletions = new RecentDeletions();
  #consumer: Promise<OrderedFeed> | undefined;
  /** This server's messages that the consumer has not come to, by their sequences. */
  #written: StoredEntry[] = [];
  /** The sequence of the last message that was added. */
  #position = 0;
  #isClosed = false;
  /** Changes that wait until a large value before them is read. */
  #reading: Promise<void> | undefined;

  constructor({ session, reader, filter, maxBacklog, onFailure }: SharedWatchOptions) {
    this.#session = session;
    this.#reader = reader;
    this.filter = filter;
    this.#onFailure = onFailure;
    this.#root = subjectPrefix(session.name, "keys");
    this.feed = new ChangeFeed(maxBacklog);
  }

  /** Starts a watch at this moment. */
  join(): WatchStart {
    const failed = new AbortController();
    // Sent at once, so that whatever this server writes after the call comes later.
    const after = this.#startOf();
    const start: WatchStart = { after, failure: failed.signal };
    this.#watches.add(start);
    after.then(
      (sequence) => {
        start.startedAfter = sequence;
        return this.#consume(sequence);
      },
      (error: unknown) => failed.abort(error),
    );
    return start;
  }

  /** Ends a watch. Returns whether it was the last one. */
  leave(start: WatchStart): boolean {
    if (!this.#watches.delete(start) || this.#watches.size > 0) return false;
    this.close();
    return true;
  }

  close(): void {
    this.#isClosed = true;
    this.feed.close();
    void this.#consumer?.then(
      (consumer) => consumer.close(),
      () => {},
    );
  }

  #fail(error: Error): void {
    this.feed.fail(error);
    this.close();
    this.#onFailure();
  }

  async #startOf(): Promise<number> {
    const known = this.#reader.position;
    const { sequence, attempts } = await this.#reader.writeBarrier();
    // A barrier that was sent again may be later than the first writes after the call.
    return attempts === 1 || known === 0 ? sequence : known;
  }

  async #consume(after: number): Promise<void> {
    if (this.#isClosed || this.#consumer || this.#watches.size === 0) return;
    this.#consumer = OrderedFeed.open(this.#session, after + 1, {
      stream: streamName(this.#session.name, "keys"),
      filter: this.filter,
      isHeadersOnly: false,
      maxAwayMs: MAX_AWAY_MS,
      onMessage: (subject, sequence, message) => {
        this.#receive(storedEntryOf(this.#root, subject, sequence, message));
      },
      onFailure: (error) => this.#fail(error),
    });
    try {
      const consumer = await this.#consumer;
      if (this.#isClosed) consumer.close();
    } catch (error) {
      if (!this.#isClosed) this.#fail(error as Error);
    }
  }

  /** Adds a message of this server, which comes before the next message of the consumer that is later. */
  addWritten(stored: StoredEntry): void {
    const written = this.#written;
    if (stored.sequence <= this.#position || written.length >= MAX_WRITTEN) return;
    const index = written.findLastIndex(({ sequence }) => sequence < stored.sequence) + 1;
    if (index === written.length) written.push(stored);
    else written.splice(index, 0, stored);
  }

  #receive(stored: StoredEntry): void {
    const { sequence } = stored;
    this.#position = sequence;
    const later = this.#written.findIndex((written) => written.sequence > sequence);
    const written = this.#written.splice(0, later < 0 ? this.#written.length : later);
    for (const each of written) this.#add(each);
    // This server's own copy has the whole value.
    if (written.at(-1)?.sequence !== sequence) this.#add(stored);
  }

  #add(stored: StoredEntry): void {
    this.#rememberHashed(stored);
    if (!this.#reading && (stored.parts === 0 || stored.isDeleted)) {
      this.#publish(stored);
      return;
    }
    const reading = (this.#reading ?? Promise.resolve())
      .then(() => this.#addLarge(stored))
      .finally(() => {
        if (this.#reading === reading) this.#reading = undefined;
      });
    this.#reading = reading;
  }

  async #addLarge(stored: StoredEntry): Promise<void> {
    if (stored.parts === 0 || stored.isDeleted) {
      this.#publish(stored);
      return;
    }
    try {
      const { entries } = await this.#reader.read([stored.subject]);
      const whole = entries.get(stored.subject);
      // A later message of the key is on its way then.
      if (whole?.sequence === stored.sequence) this.#publish(whole);
    } catch (error) {
      this.#fail(
        error instanceof EngineFault ? error : new Error("a large value was not read", { cause: error }),
      );
    }
  }

  #publish(stored: StoredEntry): void {
    const { sequence } = stored;
    const key = stored.key ?? this.#hashed.get(stored.subject);
    const repeated = this.#deletions.note(stored);
    if (key === undefined || (repeated !== undefined && this.#haveAllBegunBefore(repeated))) return;
    const change: SequencedChange = stored.isDeleted
      ? { type: "delete", key, sequence }
      : { type: "set", entry: asEntry(stored), sequence };
    this.feed.publish(change);
  }

  #haveAllBegunBefore(sequence: number): boolean {
    return [...this.#watches].every(({ startedAfter = sequence }) => startedAfter < sequence);
  }

  /** nats-server's markers do not have the keys of subjects with hashes. */
  #rememberHashed({ subject, key, expiresAtMs, isDeleted }: StoredEntry): void {
    if (expiresAtMs === undefined || key === undefined || isDeleted || !subject.includes("~")) return;
    this.#hashed.delete(subject);
    this.#hashed.set(subject, key);
    if (this.#hashed.size <= MAX_HASHED) return;
    const [oldest = ""] = this.#hashed.keys();
    this.#hashed.delete(oldest);
  }
}
