import type { MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import { jitteredMs } from "../../../lib/backoff.js";
import { delay } from "../../../lib/timer.js";
import type { Logger } from "../../context.js";
import { API_CODES, ApiResponseError, ConditionError } from "./errors.js";
import { NoReplyError } from "./inbox.js";
import type { Header, StoredAt, StreamMessage } from "./message.js";
import { ATTEMPT_MS, RETRY, type Requests } from "./requests.js";
import { Semaphore } from "./semaphore.js";

/** The first attempt to publish takes less, and each further one twice the time. */
const FIRST_PUBLISH_MS = 500;

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

/** Stores messages, each once: it has an id, by which the cluster knows one that is sent again. */
export class Publisher {
  readonly #requests: Requests;
  readonly #nc: NatsConnection;
  readonly #id: string;
  readonly #log: Logger;
  readonly #createHeaders: () => MsgHdrs;
  readonly #batches = new Semaphore(BATCHES_AT_ONCE);
  #messages = 0;

  constructor(requests: Requests, { nc, id, log, createHeaders }: PublisherOptions) {
    this.#requests = requests;
    this.#nc = nc;
    this.#id = id;
    this.#log = log;
    this.#createHeaders = createHeaders;
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
   * A stream with one replica checks a message's condition before its id, so that a repeated message may fail by its own
   * first attempt. Then a message with the same id and no condition, on the subject `fence` of the stream, finds out.
   * Default: the token `!` below the subject's first two.
   */
  async publishWithId(
    { subject, data, headers: entries }: StreamMessage,
    id: string,
    fence = `${subject.split(".", 2).join(".")}.!`,
  ): Promise<StoredAt & { isDuplicate: boolean }> {
    const headers = this.headersOf(entries);
    headers.set("Nats-Msg-Id", id);
    const deadlineMs = this.#requests.deadlineMs();
    let attempts = 0;
    const send = async (timeoutMs: number) => {
      attempts++;
      return this.#requests.parse<PubAck>(await this.#requests.send({ subject, data, headers, timeoutMs }));
    };
    try {
      const { seq, duplicate = false } = await this.#requests.repeat(send, subject, {
        firstMs: FIRST_PUBLISH_MS,
        deadlineMs,
      });
      return { sequence: seq, isDuplicate: duplicate };
    } catch (error) {
      if (attempts === 1 || !(error instanceof ConditionError)) throw error;
      const stored = await this.#findStored(id, fence, deadlineMs);
      if (!stored) throw error;
      return { ...stored, isDuplicate: false };
    }
  }

  /**
   * Stores all messages or none, next to each other, and resolves with the sequence of the last one. Fails as publish()
   * does. `fence` is a subject of the same stream for a message that finds out whether the batch was stored, if no
   * response told.
   */
  async publishBatch(messages: readonly StreamMessage[], fence: string): Promise<StoredAt> {
    for (const { subject, data } of messages) this.#requests.checkSize(subject, data);
    const deadlineMs = this.#requests.deadlineMs();
    const release = await this.#batches.acquire();
    try {
      for (let failures = 1; ; failures++) {
        this.#requests.checkOpen();
        const id = this.createMessageId();
        await this.#requests.untilConnected(deadlineMs);
        if (!this.#requests.isConnected)
          throw this.#requests.unavailable(new Error("there is no connection"));
        const result = await this.#sendBatch(messages, { id, fence, deadlineMs });
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
    { id, fence, deadlineMs }: { id: string; fence: string; deadlineMs: number },
  ): Promise<StoredAt | { error: unknown }> {
    try {
      const ack = await this.#sendBatchOnce(messages, id, deadlineMs);
      return ack ? { sequence: ack.seq } : { error: new Error("the cluster did not take the batch") };
    } catch (error) {
      this.#requests.checkOpen();
      if (error instanceof ApiResponseError && error.code === API_CODES.batchIncomplete) return { error };
      if (!(error instanceof NoReplyError)) throw error;
      return (await this.#findStored(id, fence, deadlineMs)) ?? { error };
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

  /**
   * Where the message with `id` was stored; undefined if it was not and never will be: a message on a subject below
   * `fence` has taken its id. Fails as EngineFault "unavailable" if that cannot be found out.
   */
  async #findStored(id: string, fence: string, deadlineMs: number): Promise<StoredAt | undefined> {
    const subject = `${fence}.${id}`;
    const headers = this.headersOf([["Nats-Msg-Id", id]]);
    const data = new Uint8Array(0);
    const beforeFence = await this.#lastSequence(subject);
    let attempts = 0;
    const { seq, duplicate, stream } = await this.#requests.repeat(
      async (timeoutMs) => {
        attempts++;
        return this.#requests.parse<PubAck>(await this.#requests.send({ subject, data, headers, timeoutMs }));
      },
      subject,
      { deadlineMs },
    );
    if (duplicate) {
      // A fence that was sent again may be the duplicate of itself.
      const isBefore = attempts === 1 || seq <= beforeFence;
      if (isBefore || (await this.#subjectAt(stream, seq)) !== subject) return { sequence: seq };
    }
    this.#removeFence(stream, seq);
    return undefined;
  }

  /** The sequence of the last message of the stream that has `subject`. */
  async #lastSequence(subject: string): Promise<number> {
    const { streams } = await this.#requests.api<{ streams: string[] | null }>("STREAM.NAMES", { subject });
    const { state } = await this.#requests.api<{ state: { last_seq: number } }>(
      `STREAM.INFO.${streams?.[0]}`,
    );
    return state.last_seq;
  }

  /** The subject of the message with this sequence. */
  async #subjectAt(stream: string, seq: number): Promise<string> {
    try {
      const { message } = await this.#requests.api<{ message: { subject: string } }>(
        `STREAM.MSG.GET.${stream}`,
        {
          seq,
        },
      );
      return message.subject;
    } catch (error) {
      // It may have been replaced since, or it was a fence in a stream that keeps only messages with a consumer.
      if (error instanceof ApiResponseError) throw this.#requests.unavailable(error);
      throw error;
    }
  }

  /** Removes a message that has done its work. If that fails, it stays and does no harm. */
  #removeFence(stream: string, seq: number): void {
    this.#requests.api(`STREAM.MSG.DELETE.${stream}`, { seq, no_erase: true }).catch((error: unknown) => {
      this.#log.debug({ err: error }, "a message that found out the outcome of a publish was not removed");
    });
  }
}

/** The acknowledgement of a publish. */
interface PubAck {
  stream: string;
  seq: number;
  duplicate?: boolean;
}
