import { onAbort } from "../../../../lib/on-abort.js";
import { OrderedFeed } from "../ordered-feed.js";
import type { JetStreamSession } from "../session.js";
import type { StreamReader } from "../stream-reader.js";

/** The end of a log that a reader follows, as far as this server has heard of it. */
export interface FollowedLog {
  /** The sequence of the log's last message; 0: none has been stored since the first reader began to follow. */
  readonly sequence: number;
  /** Resolves when the log has a message behind `sequence`, or when `signal` aborts. */
  grown(sequence: number, signal: AbortSignal): Promise<void>;
  /** The reader no longer follows the log. */
  leave(): void;
}

/**
 * Tells followers of logs when there is more to read. One consumer for all logs gets only the headers of messages: the
 * records are read by Direct Get when a reader asks for them, so that a slow reader fills no memory.
 */
export class LogTail {
  readonly #session: JetStreamSession;
  readonly #reader: StreamReader;
  readonly #filter: string;
  readonly #ends = new Map<string, LogEnd>();
  #feed: Promise<OrderedFeed> | undefined;

  constructor(session: JetStreamSession, reader: StreamReader, filter: string) {
    this.#session = session;
    this.#reader = reader;
    this.#filter = filter;
  }

  /** Resolves when every message on `subject` that is stored from now on will be noticed. */
  async follow(subject: string): Promise<FollowedLog> {
    const end = this.#ends.get(subject) ?? new LogEnd();
    this.#ends.set(subject, end);
    end.readers++;
    let isLeft = false;
    const leave = () => {
      if (isLeft) return;
      isLeft = true;
      if (--end.readers === 0) this.#ends.delete(subject);
      if (this.#ends.size === 0) this.close();
    };
    try {
      this.#feed ??= this.#openFeed();
      await this.#feed;
    } catch (error) {
      leave();
      throw error;
    }
    return {
      get sequence() {
        return end.sequence;
      },
      grown: (sequence, signal) => end.grown(sequence, signal),
      leave,
    };
  }

  /** Ends the consumer. The next reader begins another one. */
  close(): void {
    const feed = this.#feed;
    this.#feed = undefined;
    feed?.then(
      (open) => open.close(),
      () => {},
    );
  }

  async #openFeed(): Promise<OrderedFeed> {
    try {
      // After the barrier: what a reader finds when it has begun to follow is older, or is noticed.
      const from = (await this.#reader.barrier()) + 1;
      return await OrderedFeed.open(this.#session, from, {
        stream: this.#reader.stream,
        filter: this.#filter,
        isHeadersOnly: true,
        onMessage: (subject, sequence) => this.#ends.get(subject)?.advance(sequence),
      });
    } catch (error) {
      this.#feed = undefined;
      throw error;
    }
  }
}

class LogEnd {
  readers = 0;
  sequence = 0;
  readonly #waiting = new Set<() => void>();

  advance(sequence: number): void {
    this.sequence = sequence;
    for (const done of [...this.#waiting]) done();
  }

  grown(sequence: number, signal: AbortSignal): Promise<void> {
    if (this.sequence > sequence || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        stopListening();
        resolve();
      };
      this.#waiting.add(done);
      const stopListening = onAbort(signal, done);
    });
  }
}
