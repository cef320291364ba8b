import { type Backoff, jitteredMs } from "../../../lib/backoff.js";
import { delay } from "../../../lib/timer.js";
import { EngineFault } from "../../engine.js";
import { directGet, type StoredMessage } from "./direct-get.js";
import type { JetStreamSession } from "./session.js";
import { type StreamPart, streamName, subjectPrefix } from "./streams.js";

/** How long a replica that is behind is waited for before it is asked again. */
const BEHIND: Backoff = { minMs: 2, maxMs: 50 };

/** How many subjects one request for last messages names: a response may have this many messages of the most bytes. */
const SUBJECTS_PER_REQUEST = 16;

/** Messages by subject. */
export type MessageMap = ReadonlyMap<string, StoredMessage>;

/** The calls of latest() that share a barrier and a request. */
interface Round {
  readonly subjects: Set<string>;
  messages: Promise<MessageMap>;
}

/**
 * Reads one stream by Direct Get. Any replica answers, be it behind the others: what a caller must not miss is told by
 * a sequence that the replica must have reached.
 */
export class StreamReader {
  /** The stream's name. */
  readonly stream: string;
  /** The prefix of the subjects of the stream. */
  readonly prefix: string;
  readonly #session: JetStreamSession;
  readonly #barrier: string;
  /** The round that further callers may still join, as its barrier has not begun. */
  #openRound: Round | undefined;
  #lastBarrier: Promise<unknown> = Promise.resolve();

  constructor(session: JetStreamSession, part: StreamPart) {
    this.#session = session;
    this.stream = streamName(session.name, part);
    this.prefix = subjectPrefix(session.name, part);
    this.#barrier = `${this.prefix}barrier`;
  }

  /**
   * The last message of each of the subjects, as of now: no message is missed that was acknowledged before the call,
   * to any server. Concurrent calls share their requests.
   */
  async latest(subjects: readonly string[]): Promise<MessageMap> {
    this.#openRound ??= this.#startRound();
    const round = this.#openRound;
    for (const subject of subjects) round.subjects.add(subject);
    return await round.messages;
  }

  /** A sequence that the stream has reached now, or higher. What was acknowledged before the call has a lower one. */
  async barrier(): Promise<number> {
    const message = { subject: this.#barrier, data: new Uint8Array(0), headers: ROLLUP };
    try {
      return (await this.#session.publishRepeatedly(message)).sequence;
    } catch (error) {
      if (!(error instanceof EngineFault) || error.reason !== "full") throw error;
      // A purge of nothing needs a quorum as a message does, and no room. After it the leader's state is current.
      await this.purge(`${this.#barrier}.none`);
      return (await this.#session.api<{ state: { last_seq: number } }>(`STREAM.INFO.${this.stream}`)).state
        .last_seq;
    }
  }

  /** The last message of each of the subjects, of a replica that has reached the sequence `least`. */
  async lastOf(subjects: Iterable<string>, least: number): Promise<MessageMap> {
    const messages = new Map<string, StoredMessage>();
    const remaining = [...subjects];
    while (remaining.length > 0) {
      const some = remaining.splice(0, SUBJECTS_PER_REQUEST);
      for (const message of await this.#lastOfSome(some, least)) messages.set(message.subject, message);
    }
    return messages;
  }

  /**
   * Some messages of `subject`, which may have wildcards, from the sequence `from` on: at most `count`, and no more
   * after `bytes`. None: the replica that answered has none.
   */
  async next(subject: string, from: number, count: number, bytes: number): Promise<StoredMessage[]> {
    const request = { seq: Math.max(1, from), next_by_subj: subject, batch: count, max_bytes: bytes };
    return (await directGet(this.#session, this.stream, request)).messages;
  }

  /** next(), where the stream has at least one such message: waits for a replica that has it. */
  async nextKnown(subject: string, from: number, count: number, bytes: number): Promise<StoredMessage[]> {
    return await this.#whenCurrent(async () => {
      const messages = await this.next(subject, from, count, bytes);
      return messages.length > 0 ? messages : undefined;
    });
  }

  /** The subjects under `filter` that have messages, of a replica that has reached the sequence `least`. */
  async subjects(filter: string, least: number): Promise<string[]> {
    const found: string[] = [];
    for (let total = 1; found.length < total; ) {
      const request = { subjects_filter: filter, offset: found.length };
      const page = await this.#whenCurrent(async () => {
        const info = await this.#session.api<SubjectsInfo>(`STREAM.INFO.${this.stream}`, request);
        return info.state.last_seq >= least ? info : undefined;
      });
      const some = Object.keys(page.state.subjects ?? {});
      total = some.length > 0 ? (page.total ?? 0) : 0;
      for (const subject of some) found.push(subject);
    }
    return found;
  }

  /** Removes the messages of `filter`, or those below the sequence `before`. Returns how many there were. */
  async purge(filter: string, before?: number): Promise<number> {
    const request = { filter, ...(before !== undefined && { seq: before }) };
    return (await this.#session.api<{ purged: number }>(`STREAM.PURGE.${this.stream}`, request)).purged;
  }

  #startRound(): Round {
    const round: Round = { subjects: new Set(), messages: Promise.resolve(new Map()) };
    const begin = async () => {
      await this.#lastBarrier.catch(() => {});
      this.#openRound = undefined;
      const passed = this.barrier();
      this.#lastBarrier = passed;
      return await this.lastOf(round.subjects, await passed);
    };
    round.messages = begin();
    return round;
  }

  async #lastOfSome(subjects: readonly string[], least: number): Promise<StoredMessage[]> {
    // The barrier's subject has a message, so that a replica that has none of the subjects also tells its sequence.
    const request = { multi_last: [...subjects, this.#barrier] };
    return await this.#whenCurrent(async () => {
      const { messages, upToSequence } = await directGet(this.#session, this.stream, request);
      return upToSequence >= least ? messages : undefined;
    });
  }

  /** Repeats a request until a replica answers that is not behind. */
  async #whenCurrent<T>(request: () => Promise<T | undefined>): Promise<T> {
    const deadlineMs = performance.now() + this.#session.waitMs;
    for (let failures = 1; ; failures++) {
      const response = await request();
      if (response !== undefined) return response;
      if (performance.now() > deadlineMs) {
        throw new EngineFault(
          "unavailable",
          `no replica of ${this.stream} was up to date within ${this.#session.waitMs} ms`,
        );
      }
      await delay(jitteredMs(BEHIND, failures), this.#session.closing);
    }
  }
}

/** The response of STREAM.INFO with a filter of subjects. */
interface SubjectsInfo {
  total?: number;
  state: { last_seq: number; subjects?: Record<string, number> };
}

/** The headers of a message that replaces the earlier ones of its subject. */
export const ROLLUP = [["Nats-Rollup", "sub"]] as const;
