import type { MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import { jitteredMs } from "../../../lib/backoff.js";
import { delay } from "../../../lib/timer.js";
import type { Logger } from "../../context.js";
import { EngineFault } from "../../engine.js";
import { API_CODES, ApiResponseError, ConditionError } from "./errors.js";
import { NoReplyError } from "./inbox.js";
import type { Header, PubAck, StoredAt, StreamMessage } from "./message.js";
import { OutcomeFinder } from "./outcome-finder.js";
import { ATTEMPT_MS, RETRY, type Requests } from "./requests.js";
import { Semaphore } from "./semaphore.js";

/** The first attempt to publish takes less, and each further one twice the time. */
const FIRST_PUBLISH_MS = 500;

/**
 * How long a leader can go on after another one was elected that it does not know of, and refuse by an old state what
 * the other one stores: it gets a message of the other one every second.
 */
const FORMER_LEADER_MS = 1500;

const EXPECTED = "Nats-Expected-Last-Subject-Sequence";

/** nats-server accepts 50 unfinished batches per stream: this many of one server leave room for others. */
const BATCHES_AT_ONCE = 12;

/** The options of a publisher. */
export interface PublisherOptions {
  nc: NatsConnection;
  /** The first part of message ids, unique among all servers and starts. */
  id: string;
  log: Logger;
  /** @nats-io's function for headers: the package is loaded with the connection. */
  createHeaders: () => MsgHdrs;
}

/** What bounds the attempts to store a message. */
export interface PublishBounds {
  /** A subject of the same stream for a message that finds out whether this one was stored, if no response told. */
  fence?: string;
  /** There is no attempt after this time of performance.now(): then it fails with a ConditionError. Default: `waitMs`. */
  untilMs?: number;
}

/** Stores messages, each once: it has an id, by which the cluster knows one that is sent again. */
export class Publisher {
  readonly #requests: Requests;
  readonly #nc: NatsConnection;
  readonly #id: string;
  readonly #createHeaders: () => MsgHdrs;
  readonly #outcomes: OutcomeFinder;
  readonly #batches = new Semaphore(BATCHES_AT_ONCE);
  #messages = 0;

  constructor(requests: Requests, { nc, id, log, createHeaders }: PublisherOptions) {
    this.#requests = requests;
    this.#nc = nc;
    this.#id = id;
    this.#createHeaders = createHeaders;
    const create = (entries: Iterable<Header>) => this.headersOf(entries);
    this.#outcomes = new OutcomeFinder(requests, log, create);
  }

  /** Headers for a message. */
  headersOf(entries: Iterable<Header>): MsgHdrs {
    const headers = this.#createHeaders();
    for (const [name, value] of entries) headers.set(name, value);
    return headers;
  }

  /** A new id of a message. */
  createMessageId(): string {
    return `${this.#id}.${++this.#messages}`;
  }

  /** Stores a message at least once: for one that may be stored again without harm. */
  async publishRepeatedly({
    subject,
    data,
    headers: entries,
  }: StreamMessage): Promise<StoredAt & { attempts: number }> {
    const headers = this.headersOf(entries);
    let attempts = 0;
    const { seq } = await this.#requests.repeat(
      async (timeoutMs) => {
        attempts++;
        return this.#requests.parse<PubAck>(await this.#requests.send({ subject, data, headers, timeoutMs }));
      },
      subject,
      { firstMs: FIRST_PUBLISH_MS },
    );
    return { sequence: seq, attempts };
  }

  /**
   * publish() with an id of createMessageId(). `isDuplicate`: a message with the id was stored before, and stays.
   *
   * A refusal does not tell that an earlier attempt was not stored: limits are checked before the id, and so is the
   * condition by a stream with one replica. Nor does that of a former leader. Then a message with the same id and no
   * condition, on the subject `fence` of the stream, finds out. Default: the token `!` below the subject's first two.
   */
  async publishWithId(
    { subject, data, headers: entries }: StreamMessage,
    id: string,
    { fence = `${subject.split(".", 2).join(".")}.!`, untilMs }: PublishBounds = {},
  ): Promise<StoredAt & { isDuplicate: boolean }> {
    const headers = this.headersOf(entries);
    headers.set("Nats-Msg-Id", id);
    const deadlineMs = this.#requests.deadlineMs();
    const doubt = new Doubt([{ headers: entries }]);
    let unanswered = 0;
    const send = async (timeoutMs: number) => {
      unanswered++;
      const reply = await this.#requests.send({ subject, data, headers, timeoutMs });
      try {
        return this.#requests.parse<PubAck>(reply);
      } catch (error) {
        unanswered--;
        // The present leader knows whether it has stored the message.
        if (doubt.isAbout(error) && doubt.lasts()) return undefined;
        throw error;
      }
    };
    try {
      const { seq, duplicate = false } = await this.#requests.repeat(send, subject, {
        firstMs: FIRST_PUBLISH_MS,
        deadlineMs: Math.min(deadlineMs, untilMs ?? deadlineMs),
      });
      return { sequence: seq, isDuplicate: duplicate };
    } catch (caught) {
      this.#requests.checkOpen();
      const isOver = isUnavailable(caught) && performance.now() < deadlineMs;
      const error = isOver ? tooLate() : caught;
      if (!isRefusal(error) || (unanswered === 0 && (isOver || !doubt.isAbout(error)))) throw error;
      const at = conditionOf(subject, entries);
      const stored = await this.#outcomes.find({ id, fence, deadlineMs, ...(at && { at }) });
      if (!stored) throw error;
      return { ...stored, isDuplicate: false };
    }
  }

  /**
   * Stores all messages or none, next to each other, and resolves with the sequence of the last one. Fails as publish()
   * does. `fence` is a subject of the same stream for a message that finds out whether the batch was stored, if no
   * response told.
   */
  async publishBatch(
    messages: readonly StreamMessage[],
    { fence, untilMs = Number.POSITIVE_INFINITY }: PublishBounds & { fence: string },
  ): Promise<StoredAt> {
    for (const { subject, data } of messages) this.#requests.checkSize(subject, data);
    const deadlineMs = this.#requests.deadlineMs();
    const doubt = new Doubt(messages);
    const release = await this.#batches.acquire();
    try {
      for (let failures = 1; ; failures++) {
        this.#requests.checkOpen();
        const id = this.createMessageId();
        await this.#requests.untilConnected(deadlineMs);
        if (!this.#requests.isConnected)
          throw this.#requests.unavailable(new Error("there is no connection"));
        if (performance.now() > untilMs) throw tooLate();
        const result = await this.#sendBatch(messages, { id, fence, deadlineMs, doubt });
        if ("sequence" in result) return result;
        if (performance.now() > deadlineMs) throw this.#requests.unavailable(result.error);
        await delay(jitteredMs(RETRY, failures), this.#requests.closing);
      }
    } finally {
      release();
    }
  }

  /** Sends a batch once: its sequence, or the error because of which it was not stored and may be sent again. */
  async #sendBatch(
    messages: readonly StreamMessage[],
    { doubt, ...sought }: { id: string; fence: string; deadlineMs: number; doubt: Doubt },
  ): Promise<StoredAt | { error: unknown }> {
    try {
      const ack = await this.#sendBatchOnce(messages, sought.id, sought.deadlineMs);
      return ack ? { sequence: ack.seq } : { error: new Error("the cluster did not take the batch") };
    } catch (error) {
      this.#requests.checkOpen();
      if (error instanceof ApiResponseError && error.code === API_CODES.batchIncomplete) return { error };
      const isUnanswered = error instanceof NoReplyError;
      if (!isUnanswered && !doubt.isAbout(error)) throw error;
      const [first] = messages;
      const at = first && conditionOf(first.subject, first.headers);
      const ofLast = messages.length - 1;
      const stored = await this.#outcomes.find({ ...sought, ...(at && { at: { ...at, ofLast } }) });
      if (!stored && !isUnanswered && !doubt.lasts()) throw error;
      return stored ?? { error };
    }
  }

  async #sendBatchOnce(
    messages: readonly StreamMessage[],
    id: string,
    deadlineMs: number,
  ): Promise<PubAck | undefined> {
    const last = messages.length - 1;
    for (const [i, { subject, data, headers: entries }] of messages.entries()) {
      const headers = this.headersOf(entries);
      headers.set("Nats-Batch-Id", id);
      headers.set("Nats-Batch-Sequence", String(i + 1));
      if (i < last) {
        this.#nc.publish(subject, data, { headers });
        continue;
      }
      headers.set("Nats-Batch-Commit", "1");
      headers.set("Nats-Msg-Id", id);
      const timeoutMs = Math.max(1, Math.min(ATTEMPT_MS, deadlineMs - performance.now()));
      return this.#requests.parse<PubAck>(await this.#requests.send({ subject, data, headers, timeoutMs }));
    }
    throw new RangeError("a batch has at least one message");
  }
}

/** The doubts about refusals of a message, or of a batch: whether a former leader has made them. */
class Doubt {
  /** The highest sequence that a condition expects. */
  readonly #expected: number;
  #endsAtMs: number | undefined;

  constructor(messages: readonly Pick<StreamMessage, "headers">[]) {
    const conditions = messages.flatMap(({ headers }) => headers.filter(([name]) => name === EXPECTED));
    this.#expected = Math.max(0, ...conditions.map(([, sequence]) => Number(sequence)));
  }

  /**
   * Whether the present leader may have stored what `error` says was refused. A later message than expected is in the
   * state of every leader from then on, and the one that refused has looked for the id among those before it.
   */
  isAbout(error: unknown): boolean {
    return error instanceof ConditionError && (error.lastSequence ?? 0) <= this.#expected;
  }

  /** Whether a former leader may still answer. The time begins with the first call. */
  lasts(): boolean {
    this.#endsAtMs ??= performance.now() + FORMER_LEADER_MS;
    return performance.now() < this.#endsAtMs;
  }
}

/** Whether the error says that a message was not stored, instead of that it is not known. */
const isRefusal = (error: unknown): boolean =>
  error instanceof ConditionError ||
  error instanceof ApiResponseError ||
  (error instanceof EngineFault && error.reason === "full");

const isUnavailable = (error: unknown): boolean =>
  error instanceof EngineFault && error.reason === "unavailable";

const tooLate = (): ConditionError => new ConditionError("its time is over");

/** The condition of a message on its own subject, if it has one. */
function conditionOf(
  subject: string,
  headers: readonly Header[],
): { subject: string; expected: number } | undefined {
  const [, expected] = headers.find(([name]) => name === EXPECTED) ?? [];
  if (expected === undefined || headers.some(([name]) => name === `${EXPECTED}-Subject`)) return undefined;
  return { subject, expected: Number(expected) };
}
