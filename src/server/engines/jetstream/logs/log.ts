import type { LogRecord, Retention } from "../../../engine.js";
import { closedError } from "../../shared/errors.js";
import type { Capacity } from "../capacity.js";
import type { JetStreamSession } from "../session.js";
import { ROLLUP, type StreamReader } from "../stream-reader.js";
import { LogAppender } from "./appender.js";
import { LogCursor } from "./cursor.js";
import { type LogState, stateOf } from "./message.js";
import { firstRetained, isSameRetention } from "./retention.js";
import { MessageSearch } from "./search.js";
import type { FollowedLog, LogTail } from "./tail.js";

/** Space is freed by purges of at least an eighth of what is retained, and of at least this much. */
const TRIM_BYTES = 1024 ** 2;
const TRIM_RECORDS = 1000;
const TRIM_MS = 1000;
const TRIM_SHARE = 1 / 8;

/** The most records in one batch of a read. */
const BATCH_RECORDS = 512;

export interface ClusterLogOptions {
  session: JetStreamSession;
  reader: StreamReader;
  tail: LogTail;
  capacity: Capacity;
  /** The subject of the log's messages. */
  subject: string;
  /** The subject of the message that says that the log has records with a maximum age. */
  ageSubject: string;
  /** Aborts when the engine closes. */
  closing: AbortSignal;
}

/** One log of the cluster, as this server uses it. All state is in the log's last message; the rest are caches. */
export class ClusterLog {
  readonly #options: ClusterLogOptions;
  readonly #search: MessageSearch;
  readonly #appender: LogAppender;
  /** The log at the last trim. */
  #trimmed = { next: 1, bytes: 0, atMs: 0 };
  #trimming: Promise<void> | undefined;

  constructor(options: ClusterLogOptions) {
    const { session, reader, capacity, subject } = options;
    this.#options = options;
    this.#search = new MessageSearch(reader, subject);
    this.#appender = new LogAppender({
      session,
      reader,
      subject,
      capacity,
      onStored: (state) => this.#trimIfDue(state),
      free: async () => await this.#purge(await this.#state()),
    });
  }

  get isIdle(): boolean {
    return this.#appender.isIdle && !this.#trimming;
  }

  async append(values: readonly Uint8Array[]): Promise<{ first: bigint; last: bigint }> {
    const first = values.length > 0 ? await this.#appender.append(values) : (await this.#state()).next;
    return { first: BigInt(first), last: BigInt(first + values.length - 1) };
  }

  async bounds(): Promise<{ first: bigint; next: bigint }> {
    const state = await this.#state();
    return { first: BigInt(await this.#firstOf(state)), next: BigInt(state.next) };
  }

  async seek(timestampMs: number): Promise<bigint> {
    const state = await this.#state();
    if (state.sequence === 0 || state.timeMs < timestampMs) return BigInt(state.next);
    const { head } = await this.#search.first(({ timeMs }) => timeMs >= timestampMs, state);
    return BigInt(Math.max(head.first, await this.#firstOf(state)));
  }

  async retain(retention: Retention): Promise<void> {
    const { session, ageSubject } = this.#options;
    if (isSameRetention((await this.#state()).retention, retention)) return;
    if (retention.maxAgeMs !== undefined) {
      await session.publishRepeatedly({ subject: ageSubject, data: new Uint8Array(0), headers: ROLLUP });
    }
    await this.#appender.change(async (state) => {
      if (isSameRetention(state.retention, retention)) return undefined;
      const { maxAgeMs, maxBytes, maxRecords } = retention;
      // What the limits until now have removed does not come back with the new ones.
      return { ...state, floor: await this.#firstOf(state), retention: { maxAgeMs, maxBytes, maxRecords } };
    });
  }

  async *read(
    from: number,
    { follow, signal }: { follow: boolean; signal: AbortSignal },
  ): AsyncGenerator<LogRecord[], void, undefined> {
    const { tail, subject, closing } = this.#options;
    if (signal.aborted) return;
    const ended = follow ? AbortSignal.any([signal, closing]) : signal;
    let followed: FollowedLog | undefined;
    try {
      followed = follow ? await tail.follow(subject) : undefined;
      const state = await this.#state();
      const cursor = await this.#openCursor(from, state);
      for (let last = state.sequence; !ended.aborted; last = await nextLast(followed, cursor, ended)) {
        while (cursor.position < last) {
          const records = (await cursor.read(last)).filter(({ offset }) => offset >= from);
          for (let i = 0; i < records.length; i += BATCH_RECORDS) {
            if (ended.aborted) return;
            if (closing.aborted) throw closedError("jetstream");
            yield records.slice(i, i + BATCH_RECORDS);
          }
        }
        if (!followed) return;
      }
    } catch (error) {
      // A follower ends with the engine, whatever it was doing.
      if (!follow || !ended.aborted) throw error;
    } finally {
      followed?.leave();
    }
  }

  /** Removes the messages of which no record is retained. */
  async trim(): Promise<void> {
    this.#trimming ??= this.#trim().finally(() => {
      this.#trimming = undefined;
    });
    await this.#trimming;
  }

  /** The retention as some replica knows it; undefined if the log has no message. */
  async retention(): Promise<Retention | undefined> {
    const { reader, subject } = this.#options;
    const message = (await reader.lastOf([subject], 0)).get(subject);
    return message && stateOf(message).retention;
  }

  /** Resolves when no write is under way. */
  async settled(): Promise<void> {
    await this.#appender.settled();
    await this.#trimming?.catch(() => {});
  }

  /** The log as it is now: with what was acknowledged before the call, to any server. */
  async #state(): Promise<LogState> {
    const { reader, subject } = this.#options;
    return stateOf((await reader.latest([subject])).get(subject));
  }

  #firstOf(state: LogState): Promise<number> {
    return firstRetained(state, this.#search, this.#options.session.clock);
  }

  async #openCursor(from: number, state: LogState): Promise<LogCursor> {
    const { reader, subject } = this.#options;
    const next = Math.min(Math.max(from, await this.#firstOf(state)), state.next);
    const firstRetainedNow = async () => await this.#firstOf(await this.#state());
    const options = { reader, subject, firstRetained: firstRetainedNow };
    if (next === state.next) return new LogCursor({ sequence: state.sequence + 1, next }, options);
    const { sequence } = await this.#search.first(({ first, count }) => first + count > next, state);
    return new LogCursor({ sequence, next }, options);
  }

  #trimIfDue({ retention: { maxAgeMs, maxBytes, maxRecords }, next, bytes }: LogState): void {
    if (maxAgeMs === undefined && maxBytes === undefined && maxRecords === undefined) return;
    const trimmed = this.#trimmed;
    const isDue =
      bytes - trimmed.bytes >= Math.max(TRIM_BYTES, (maxBytes ?? 0) * TRIM_SHARE) ||
      next - trimmed.next >= Math.max(TRIM_RECORDS, (maxRecords ?? 0) * TRIM_SHARE) ||
      performance.now() - trimmed.atMs >= Math.max(TRIM_MS, (maxAgeMs ?? 0) * TRIM_SHARE);
    if (!isDue || this.#trimming) return;
    this.#trimmed = { next, bytes, atMs: performance.now() };
    this.trim().catch((err: unknown) => {
      const { session, subject, closing } = this.#options;
      if (!closing.aborted) session.log.warn({ err, subject }, "records of a log could not be removed");
    });
  }

  async #trim(): Promise<void> {
    const state = await this.#state();
    await this.#purge(state);
    if (state.sequence === 0 || (await this.#firstOf(state)) < state.next) return;
    // The last message stays, as it tells the next offset. One without records takes its place.
    const last = await this.#search.first((head) => head.first + head.count >= state.next, state);
    if (last.head.count === 0) return;
    await this.#appender.change(async (now) =>
      now.next === state.next ? { ...now, floor: now.next } : undefined,
    );
    await this.#purge(await this.#state());
  }

  /** Removes the messages before the oldest retained record, except for the last one. Returns whether there were some. */
  async #purge(state: LogState): Promise<boolean> {
    const first = await this.#firstOf(state);
    if (state.sequence === 0 || first === 1) return false;
    const { sequence } =
      first < state.next ? await this.#search.first((head) => head.first + head.count > first, state) : state;
    const { reader, subject } = this.#options;
    return (await reader.purge(subject, sequence)) > 0;
  }
}

/** Waits until the followed log has grown. The sequence of its last message then. */
async function nextLast(
  followed: FollowedLog | undefined,
  cursor: LogCursor,
  ended: AbortSignal,
): Promise<number> {
  if (!followed) return 0;
  await followed.grown(cursor.position, ended);
  return followed.sequence;
}
