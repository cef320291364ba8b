import type { Msg, MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import { type Backoff, jitteredMs } from "../../../lib/backoff.js";
import { expectManyListeners } from "../../../lib/max-listeners.js";
import { delay } from "../../../lib/timer.js";
import { fromUtf8, utf8 } from "../../../lib/utf8.js";
import type { Logger } from "../../context.js";
import { EngineFault } from "../../engine.js";
import { closedError, fullError } from "../shared/errors.js";
import type { ClusterClock } from "./cluster-clock.js";
import { API_CODES, type ApiError, ApiResponseError, ConditionError, responseErrorOf } from "./errors.js";
import { type InboxRequest, NoReplyError, ReplyInbox } from "./inbox.js";

/** A request without a response for this long is sent again: its leader may have failed. */
const ATTEMPT_MS = 2000;

/** The first attempt to publish takes less, and each further one twice the time. */
const FIRST_PUBLISH_MS = 500;

/**
 * A read without a reply for this long is sent to another replica as well. The cluster goes on to choose a replica that
 * has stopped, as nothing tells it for minutes.
 */
const HEDGE_MS = 200;

const RETRY: Backoff = { minMs: 20, maxMs: 250 };

/** nats-server accepts 50 unfinished batches per stream: this many of one server leave room for others. */
const BATCHES_AT_ONCE = 12;

/** The most bytes of a message's headers, which count for max_payload. */
const MAX_HEADER_BYTES = 4096;

/** nats-server's default, while no server is connected. */
const DEFAULT_MAX_PAYLOAD = 1024 ** 2;

/** A header of a message: its name and its value. */
export type Header = readonly [name: string, value: string];

/** A message to publish. */
export interface Message {
  subject: string;
  data: Uint8Array;
  headers: readonly Header[];
}

/** Where a published message, or the last message of a batch, was stored. */
export interface Stored {
  sequence: number;
}

export interface SessionOptions {
  nc: NatsConnection;
  /** The name of the engine, which its streams and subjects begin with. */
  name: string;
  clock: ClusterClock;
  waitMs: number;
  log: Logger;
}

/** One attempt of a request: undefined if the same request may succeed soon. */
type Attempt<T> = (timeoutMs: number) => Promise<T | undefined>;

/**
 * The engine's use of one connection to the cluster. Requests wait while there is no leader or no connection, and are
 * sent again until `waitMs` is over. Publishes have ids, so that one that is sent again is stored once.
 */
export class JetStreamSession {
  readonly nc: NatsConnection;
  readonly name: string;
  readonly clock: ClusterClock;
  readonly waitMs: number;
  readonly log: Logger;
  readonly #closing = new AbortController();
  /** Unique among all servers and starts: the first part of message ids. */
  readonly #id = crypto.randomUUID().replaceAll("-", "");
  #messages = 0;
  /** @nats-io's function for headers: the package is loaded with the connection, so a session has it. */
  readonly #createHeaders: () => MsgHdrs;
  readonly #inbox: ReplyInbox;
  readonly #batches = new Semaphore(BATCHES_AT_ONCE);
  /** Resolves when the connection is there again; undefined while it is there. */
  #outage: { over: Promise<void>; end: () => void } | undefined;
  readonly #reconnectListeners = new Set<() => void>();

  constructor({ nc, name, clock, waitMs, log }: SessionOptions, createHeaders: () => MsgHdrs) {
    this.nc = nc;
    this.name = name;
    this.clock = clock;
    this.waitMs = waitMs;
    this.log = log;
    this.#createHeaders = createHeaders;
    this.#inbox = new ReplyInbox(nc, this.#id);
    expectManyListeners(this.closing);
  }

  /** Aborts when the engine closes. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** This server among all that use the engine, different with each start; it can be a token of a subject. */
  get id(): string {
    return this.#id;
  }

  /** The most bytes of a message with its headers that the connected server takes. */
  get maxPayload(): number {
    return this.nc.info?.max_payload ?? DEFAULT_MAX_PAYLOAD;
  }

  /** Fails if the engine is closed. */
  checkOpen(): void {
    if (this.closing.aborted) throw closedError("jetstream");
  }

  /** The connection was lost: what has no reply yet is sent again when there is another. */
  connectionLost(): void {
    if (this.#outage) return;
    let end = () => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#outage = { over, end };
    this.#inbox.fail(new NoReplyError("the connection to the cluster was lost"));
  }

  /** The connection is there again, to this or another server of the cluster. */
  connectionRestored(): void {
    this.#outage?.end();
    this.#outage = undefined;
    for (const listener of this.#reconnectListeners) listener();
  }

  /** Calls `listener` after each reconnect. Returns a function that removes it. */
  onReconnect(listener: () => void): () => void {
    this.#reconnectListeners.add(listener);
    return () => this.#reconnectListeners.delete(listener);
  }

  /** Headers for a message. */
  headersOf(entries: Iterable<Header>): MsgHdrs {
    const headers = this.#createHeaders();
    for (const [name, value] of entries) headers.set(name, value);
    return headers;
  }

  /** A new id of a message, for a publish that is sent again until its outcome is known. */
  createMessageId(): string {
    return `${this.#id}.${++this.#messages}`;
  }

  /** Requests JetStream's API, for example `STREAM.INFO.orders`, and returns its response. It may be sent repeatedly. */
  async api<T>(method: string, body?: object): Promise<T> {
    const data = utf8(body ? JSON.stringify(body) : "");
    const subject = `$JS.API.${method}`;
    return await this.#repeat(async (timeoutMs) => {
      return this.#parse<T>(await this.#send({ subject, data, timeoutMs }));
    }, method);
  }

  /**
   * Sends a request that may be sent repeatedly, until there is a response: with no responders it waits for one.
   * `timeoutMs` is the time that one attempt may take. Default: 2 seconds.
   */
  request(subject: string, data: Uint8Array, timeoutMs = ATTEMPT_MS): Promise<Msg> {
    const send: Attempt<Msg> = (most) => this.#send({ subject, data, timeoutMs: Math.min(most, timeoutMs) });
    return this.#repeat(send, subject);
  }

  /**
   * Sends a request that may be sent repeatedly, until `read` returns a value for the replies of one attempt. The last
   * reply of an attempt is that for which `isLast` returns true.
   */
  collect<T>(
    subject: string,
    data: Uint8Array,
    isLast: (reply: Msg) => boolean,
    read: (replies: Msg[]) => T | undefined,
  ): Promise<T> {
    return this.#repeat(async (timeoutMs) => {
      this.#checkSize(subject, data);
      return read(await this.#collectFirst({ subject, data, timeoutMs }, isLast));
    }, subject);
  }

  /** The replies to a request that is sent every HEDGE_MS until there is a reply to one of those sent. */
  #collectFirst({ timeoutMs, ...request }: InboxRequest, isLast: (reply: Msg) => boolean): Promise<Msg[]> {
    const endsAtMs = performance.now() + timeoutMs;
    return new Promise((resolve, reject) => {
      const onReply = (reply: Msg) => {
        clearInterval(hedging);
        return isLast(reply);
      };
      const send = () => {
        const remainingMs = Math.max(1, endsAtMs - performance.now());
        this.#inbox
          .collect({ ...request, timeoutMs: remainingMs }, onReply)
          .then(resolve, (error: unknown) => {
            clearInterval(hedging);
            reject(error);
          });
      };
      const hedging = setInterval(send, HEDGE_MS).unref();
      send();
    });
  }

  /** Stores a message at least once: for one that may be stored again without harm. */
  async publishRepeatedly({
    subject,
    data,
    headers: entries,
  }: Message): Promise<Stored & { attempts: number }> {
    const headers = this.headersOf(entries);
    let attempts = 0;
    const { seq } = await this.#repeat(
      async (timeoutMs) => {
        attempts++;
        return this.#parse<PubAck>(await this.#send({ subject, data, headers, timeoutMs }));
      },
      subject,
      { firstMs: FIRST_PUBLISH_MS },
    );
    return { sequence: seq, attempts };
  }

  /**
   * Stores a message once, and resolves when a quorum has it. Fails with a ConditionError if its condition does not
   * hold, and as EngineFault "unavailable" if its outcome is not known within `waitMs`. `fence`: see publishWithId().
   */
  async publish(message: Message, fence?: string): Promise<Stored> {
    const { sequence } = await this.publishWithId(message, this.createMessageId(), fence);
    return { sequence };
  }

  /**
   * publish() with an id of createMessageId(). `isDuplicate`: a message with the id was stored before, and stays.
   *
   * A stream with one replica checks a message's condition before its id, so that a repeated message may fail by its own
   * first attempt. Then a message with the same id and no condition, on the subject `fence` of the stream, finds out.
   * Default: the token `!` below the subject's first two.
   */
  async publishWithId(
    { subject, data, headers: entries }: Message,
    id: string,
    fence = `${subject.split(".", 2).join(".")}.!`,
  ): Promise<Stored & { isDuplicate: boolean }> {
    const headers = this.headersOf(entries);
    headers.set("Nats-Msg-Id", id);
    const deadlineMs = this.#deadlineMs();
    let attempts = 0;
    const send: Attempt<PubAck> = async (timeoutMs) => {
      attempts++;
      return this.#parse<PubAck>(await this.#send({ subject, data, headers, timeoutMs }));
    };
    try {
      const { seq, duplicate = false } = await this.#repeat(send, subject, {
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
  async publishBatch(messages: readonly Message[], fence: string): Promise<Stored> {
    for (const { subject, data } of messages) this.#checkSize(subject, data);
    const deadlineMs = this.#deadlineMs();
    const release = await this.#batches.acquire();
    try {
      for (let failures = 1; ; failures++) {
        this.checkOpen();
        const id = this.createMessageId();
        await this.#untilConnected(deadlineMs);
        if (this.#outage) throw this.#unavailable(new Error("there is no connection"));
        const result = await this.#sendBatch(messages, { id, fence, deadlineMs });
        if ("sequence" in result) return result;
        if (performance.now() > deadlineMs) throw this.#unavailable(result.error);
        await delay(jitteredMs(RETRY, failures), this.closing);
      }
    } finally {
      release();
    }
  }

  /** Sends a batch once: its sequence, or the error because of which it was not stored and may be sent again. */
  async #sendBatch(
    messages: readonly Message[],
    { id, fence, deadlineMs }: { id: string; fence: string; deadlineMs: number },
  ): Promise<Stored | { error: unknown }> {
    try {
      const ack = await this.#sendBatchOnce(messages, id, deadlineMs);
      return ack ? { sequence: ack.seq } : { error: new Error("the cluster did not take the batch") };
    } catch (error) {
      this.checkOpen();
      if (error instanceof ApiResponseError && error.code === API_CODES.batchIncomplete) return { error };
      if (!(error instanceof NoReplyError)) throw error;
      return (await this.#findStored(id, fence, deadlineMs)) ?? { error };
    }
  }

  async #sendBatchOnce(
    messages: readonly Message[],
    id: string,
    deadlineMs: number,
  ): Promise<PubAck | undefined> {
    const last = messages.length - 1;
    for (const [i, { subject, data, headers: entries }] of messages.entries()) {
      const headers = this.headersOf(entries);
      headers.set("Nats-Batch-Id", id);
      headers.set("Nats-Batch-Sequence", String(i + 1));
      if (i < last) {
        this.nc.publish(subject, data, { headers });
        continue;
      }
      headers.set("Nats-Batch-Commit", "1");
      headers.set("Nats-Msg-Id", id);
      const timeoutMs = Math.max(1, Math.min(ATTEMPT_MS, deadlineMs - performance.now()));
      return this.#parse<PubAck>(await this.#send({ subject, data, headers, timeoutMs }));
    }
    throw new RangeError("a batch has at least one message");
  }

  /**
   * Where the message with `id` was stored; undefined if it was not and never will be: a message on a subject below
   * `fence` has taken its id. Fails as EngineFault "unavailable" if that cannot be found out.
   */
  async #findStored(id: string, fence: string, deadlineMs: number): Promise<Stored | undefined> {
    const subject = `${fence}.${id}`;
    const headers = this.headersOf([["Nats-Msg-Id", id]]);
    const data = new Uint8Array(0);
    const beforeFence = await this.#lastSequence(subject);
    let attempts = 0;
    const { seq, duplicate, stream } = await this.#repeat(
      async (timeoutMs) => {
        attempts++;
        return this.#parse<PubAck>(await this.#send({ subject, data, headers, timeoutMs }));
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
    const { streams } = await this.api<{ streams: string[] | null }>("STREAM.NAMES", { subject });
    const { state } = await this.api<{ state: { last_seq: number } }>(`STREAM.INFO.${streams?.[0]}`);
    return state.last_seq;
  }

  /** The subject of the message with this sequence. */
  async #subjectAt(stream: string, seq: number): Promise<string> {
    try {
      const { message } = await this.api<{ message: { subject: string } }>(`STREAM.MSG.GET.${stream}`, {
        seq,
      });
      return message.subject;
    } catch (error) {
      // It may have been replaced since, or it was a fence in a stream that keeps only messages with a consumer.
      if (error instanceof ApiResponseError) throw this.#unavailable(error);
      throw error;
    }
  }

  /** Removes a message that has done its work. If that fails, it stays and does no harm. */
  #removeFence(stream: string, seq: number): void {
    this.api(`STREAM.MSG.DELETE.${stream}`, { seq, no_erase: true }).catch((error: unknown) => {
      this.log.debug({ err: error }, "a message that found out the outcome of a publish was not removed");
    });
  }

  close(): void {
    this.#closing.abort();
    this.#inbox.fail(new NoReplyError("the engine is closed"));
  }

  /** Sends a request once, when there is a connection. */
  async #send(request: InboxRequest): Promise<Msg> {
    this.#checkSize(request.subject, request.data);
    return await this.#inbox.request(request);
  }

  /** Fails for a message that no server of the cluster takes. */
  #checkSize(subject: string, data: Uint8Array): void {
    const most = this.maxPayload;
    if (data.length + MAX_HEADER_BYTES <= most) return;
    throw fullError(
      "max_payload",
      most,
      `a message to ${JSON.stringify(subject)} has ${data.length} bytes, which with its headers is more than ` +
        `max_payload of the nats-server, ${most}`,
    );
  }

  /** The response, undefined if the same request may succeed soon; throws its error otherwise. */
  #parse<T>(message: Msg): T | undefined {
    const response = JSON.parse(fromUtf8(message.data)) as T & { error?: ApiError };
    if (!response.error) return response;
    const error = responseErrorOf(response.error);
    if (error) throw error;
    return undefined;
  }

  /**
   * Calls `attempt` until it returns a response, or throws an error other than that there was no reply. `firstMs` is the
   * time of the first attempt.
   */
  async #repeat<T>(
    attempt: Attempt<T>,
    what: string,
    { firstMs = ATTEMPT_MS, deadlineMs = this.#deadlineMs() } = {},
  ): Promise<T> {
    let attemptMs = firstMs;
    let lastError: unknown;
    for (let failures = 1; ; failures++) {
      if (this.#outage) await this.#untilConnected(deadlineMs);
      this.checkOpen();
      const remainingMs = deadlineMs - performance.now();
      if (remainingMs <= 0) throw this.#unavailable(lastError ?? what);
      const attemptedMs = performance.now();
      try {
        const response = await attempt(Math.max(1, Math.min(attemptMs, remainingMs)));
        if (response !== undefined) return response;
      } catch (error) {
        this.checkOpen();
        if (!(error instanceof NoReplyError)) throw error;
        lastError = error;
      }
      // Without a leader there is an error at once, which says nothing of how long a response takes.
      if (performance.now() - attemptedMs >= attemptMs) attemptMs = Math.min(2 * attemptMs, ATTEMPT_MS);
      await delay(jitteredMs(RETRY, failures), this.closing);
    }
  }

  /** When a request that begins now has to be answered. */
  #deadlineMs(): number {
    return performance.now() + this.waitMs;
  }

  /** Waits for a connection, until `deadlineMs` at most. */
  async #untilConnected(deadlineMs: number): Promise<void> {
    if (!this.#outage) return;
    const stop = new AbortController();
    try {
      const signal = AbortSignal.any([this.closing, stop.signal]);
      await Promise.race([this.#outage.over, delay(deadlineMs - performance.now(), signal)]);
    } finally {
      stop.abort();
    }
  }

  #unavailable(cause: unknown): EngineFault {
    const reason = cause instanceof Error ? cause.message : "it has no leader now";
    return new EngineFault("unavailable", `the cluster has not answered within ${this.waitMs} ms: ${reason}`);
  }
}

/** The acknowledgement of a publish. */
interface PubAck {
  stream: string;
  seq: number;
  duplicate?: boolean;
}

/** Lets a number of tasks run at once; the others wait in order. */
class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#free = most;
  }

  /** Resolves with a function that ends the task. */
  async acquire(): Promise<() => void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    };
  }
}
