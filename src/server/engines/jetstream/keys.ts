import type { Change, Commit, Entry, KeyStore, Write } from "../../engine.js";
import { closedError } from "../shared/errors.js";
import type { JETSTREAM_BOUNDS } from "./bounds.js";
import { Capacity } from "./capacity.js";
import { Commits } from "./keys/commits.js";
import { KeyExpiries } from "./keys/expiries.js";
import { subjectOfKey } from "./keys/key-subjects.js";
import { Listing } from "./keys/listing.js";
import { PartSweeper } from "./keys/part-sweeper.js";
import { KeyReader } from "./keys/reader.js";
import { presentEntry } from "./keys/stored-entry.js";
import { Watches } from "./keys/watches.js";
import type { JetStreamSession } from "./session.js";
import { subjectPrefix } from "./streams.js";

/**
 * The keys of all servers, in one stream that keeps the last message of each subject. A version is the sequence of the
 * commit's last message. Reads are linearizable, whichever replica answers.
 */
export class JetStreamKeys implements KeyStore {
  readonly #session: JetStreamSession;
  readonly #root: string;
  readonly #reader: KeyReader;
  readonly #expiries: KeyExpiries;
  readonly #commits: Commits;
  readonly #listing: Listing;
  readonly #watches: Watches;
  readonly #sweeper: PartSweeper;
  /** The commits under way. */
  readonly #committing = new Set<Promise<unknown>>();
  #isClosed = false;

  constructor(
    session: JetStreamSession,
    { maxKeyBytes, maxWatchBacklog }: Readonly<Record<keyof typeof JETSTREAM_BOUNDS, number>>,
  ) {
    this.#session = session;
    this.#root = subjectPrefix(session.name, "keys");
    this.#reader = new KeyReader(session);
    this.#watches = new Watches(session, this.#reader, maxWatchBacklog);
    this.#expiries = new KeyExpiries(session, (entry) => {
      this.#commits.learn(entry);
      this.#watches.addWritten(entry);
    });
    this.#commits = new Commits(session, {
      reader: this.#reader,
      capacity: new Capacity(session, {
        part: "keys",
        most: maxKeyBytes,
        option: "maxKeyBytes",
        content: "all keys and values",
      }),
      onWritten: (entry) => {
        this.#expiries.schedule(entry);
        this.#watches.addWritten(entry);
      },
    });
    this.#listing = new Listing(session, this.#reader);
    this.#sweeper = new PartSweeper(session, this.#reader);
  }

  async get(key: string): Promise<Entry | undefined> {
    const [entry] = await this.getMany([key]);
    return entry;
  }

  async getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    this.#checkOpen();
    if (keys.length === 0) return [];
    const subjects = keys.map((key) => subjectOfKey(this.#root, key).subject);
    const { entries } = await this.#reader.read(subjects);
    const nowMs = this.#session.clock.now();
    return subjects.map((subject) => {
      const stored = entries.get(subject);
      if (stored) this.#commits.learn(stored);
      return presentEntry(stored, nowMs);
    });
  }

  async commit(writes: readonly Write[]): Promise<Commit> {
    this.#checkOpen();
    const committing = this.#commits.commit(writes);
    this.#committing.add(committing);
    try {
      return await committing;
    } finally {
      this.#committing.delete(committing);
    }
  }

  async *list(prefix: string, after?: string): AsyncGenerator<Entry, void, undefined> {
    this.#checkOpen();
    for await (const entry of this.#listing.list(prefix, after)) {
      yield entry;
      this.#checkOpen();
    }
  }

  watch(prefix: string, signal: AbortSignal): AsyncIterable<Change> {
    this.#checkOpen();
    return this.#watches.watch(prefix, signal);
  }

  /** Ends watches, and waits for commits under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#watches.close();
    await Promise.allSettled([...this.#committing, this.#expiries.close(), this.#sweeper.close()]);
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closedError("jetstream");
  }
}
