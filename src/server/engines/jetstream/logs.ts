import type { LogRecord, LogStore, Retention } from "../../engine.js";
import { closedError } from "../shared/errors.js";
import type { JETSTREAM_BOUNDS } from "./bounds.js";
import { Capacity } from "./capacity.js";
import { ClusterLog } from "./logs/log.js";
import { AgeSweep, SWEEP_MS } from "./logs/sweep.js";
import { LogTail } from "./logs/tail.js";
import type { JetStreamSession } from "./session.js";
import { StreamReader } from "./stream-reader.js";
import { shortToken } from "./subjects.js";

/** How many logs this server keeps caches of, besides those that are being written. */
const MAX_CACHED_LOGS = 10_000;

/**
 * The logs of the JetStream engine, in one stream with a subject for each log. A message has a batch of records; its
 * header says at which offset they begin, and the last message of a log is all the log's state. Offsets have no gaps,
 * as every message is stored under the condition that it follows the one that its server has seen.
 *
 * Reads are linearizable: a barrier (a message of its own, shared by concurrent reads) tells a sequence that the stream
 * has reached, and only an answer of a replica that has reached it as well counts.
 */
export class JetStreamLogs implements LogStore {
  readonly #session: JetStreamSession;
  readonly #reader: StreamReader;
  readonly #tail: LogTail;
  readonly #sweep: AgeSweep;
  readonly #capacity: Capacity;
  readonly #closing = new AbortController();
  /** By the token of the subject; the one that was used last is the last one. */
  readonly #logs = new Map<string, ClusterLog>();

  constructor(
    session: JetStreamSession,
    { maxLogBytes }: Readonly<Pick<Record<keyof typeof JETSTREAM_BOUNDS, number>, "maxLogBytes">>,
    sweepMs: number = SWEEP_MS,
  ) {
    this.#session = session;
    this.#capacity = new Capacity(session, {
      part: "logs",
      most: maxLogBytes,
      option: "maxLogBytes",
      content: "all records of the logs",
    });
    this.#reader = new StreamReader(session, "logs");
    this.#tail = new LogTail(session, this.#reader, `${this.#reader.prefix}r.>`);
    this.#sweep = new AgeSweep({
      session,
      reader: this.#reader,
      prefix: `${this.#reader.prefix}a.`,
      logOf: (token) => this.#logAt(token),
      sweepMs,
    });
  }

  async append(log: string, values: readonly Uint8Array[]): Promise<{ first: bigint; last: bigint }> {
    return await this.#log(log).append(values);
  }

  async *read(
    log: string,
    from: bigint,
    options: { follow: boolean; signal: AbortSignal },
  ): AsyncGenerator<LogRecord[], void, undefined> {
    yield* this.#log(log).read(Number(from), options);
  }

  async bounds(log: string): Promise<{ first: bigint; next: bigint }> {
    return await this.#log(log).bounds();
  }

  async seek(log: string, timestampMs: number): Promise<bigint> {
    return await this.#log(log).seek(timestampMs);
  }

  async retain(log: string, retention: Retention): Promise<void> {
    await this.#log(log).retain(retention);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#tail.close();
    await this.#sweep.close();
    await Promise.all([...this.#logs.values()].map((log) => log.settled()));
  }

  #log(name: string): ClusterLog {
    if (this.#closing.signal.aborted) throw closedError("jetstream");
    return this.#logAt(shortToken(name));
  }

  #logAt(token: string): ClusterLog {
    const log = this.#logs.get(token) ?? this.#createLog(token);
    this.#logs.delete(token);
    this.#logs.set(token, log);
    return log;
  }

  #createLog(token: string): ClusterLog {
    for (const [oldest, log] of this.#logs) {
      if (this.#logs.size < MAX_CACHED_LOGS) break;
      if (log.isIdle) this.#logs.delete(oldest);
    }
    return new ClusterLog({
      session: this.#session,
      reader: this.#reader,
      tail: this.#tail,
      capacity: this.#capacity,
      subject: `${this.#reader.prefix}r.${token}`,
      ageSubject: `${this.#reader.prefix}a.${token}`,
      closing: this.#closing.signal,
    });
  }
}
