import type { Msg, MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import { type Backoff, jitteredMs } from "../../../lib/backoff.js";
import { delay } from "../../../lib/timer.js";
import { utf8 } from "../../../lib/utf8.js";
import type { Logger } from "../../context.js";
import { EngineFault } from "../../engine.js";
import { closedError } from "../shared/errors.js";
import type { ClusterClock } from "./cluster-clock.js";
import { API_CODES, type ApiError, ApiResponseError, ConditionError, responseErrorOf } from "./errors.js";

/** A request without a response for this long is sent again: its leader may have failed. */
const ATTEMPT_MS = 2000;

const RETRY: Backoff = { minMs: 20, maxMs: 500 };

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

  constructor({ nc, name, clock, waitMs, log }: SessionOptions, createHeaders: () => MsgHdrs) {
    this.nc = nc;
    this.name = name;
    this.clock = clock;
    this.waitMs = waitMs;
    this.log = log;
    this.#createHeaders = createHeaders;
  }

  /** Aborts when the engine closes. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** This server among all that use the engine, different with each start; it can be a token of a subject. */
  get id(): string {
    return this.#id;
  }

  /** Fails if the engine is closed. */
  checkOpen(): void {
    if (this.closing.aborted) throw closedError("jetstream");
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
    const data = body && utf8(JSON.stringify(body));
    return await this.#repeat(async (timeoutMs) => {
      const message = await this.nc.request(`$JS.API.${method}`, data, { timeout: timeoutMs });
      return this.#parse<T>(message);
    }, method);
  }

  /**
   * Sends a request that may be sent repeatedly, until there is a response: with no responders it waits for one.
   * `timeoutMs` is the time that one attempt may take. Default: 2 seconds.
   */
  request(subject: string, data: Uint8Array, timeoutMs = ATTEMPT_MS): Promise<Msg> {
    const send = (most: number) => this.nc.request(subject, data, { timeout: Math.min(most, timeoutMs) });
    return this.#repeat(send, subject);
  }

  /**
   * Stores a message once, and resolves when a quorum has it. Fails with a ConditionError if its condition does not
   * hold, and as EngineFault "unavailable" if its outcome is not known within `waitMs`.
   */
  async publish(message: Message): Promise<Stored> {
    const { sequence } = await this.publishWithId(message, this.createMessageId());
    return { sequence };
  }

  /** publish() with an id of createMessageId(). `isDuplicate`: a message with the id was stored before, and stays. */
  async publishWithId(
    { subject, data, headers: entries }: Message,
    id: string,
  ): Promise<Stored & { isDuplicate: boolean }> {
    const headers = this.headersOf(entries);
    headers.set("Nats-Msg-Id", id);
    const send = async (timeout: number) => {
      const response = await this.nc.request(subject, data, { headers, timeout });
      return this.#parse<{ seq: number; duplicate?: boolean }>(response);
    };
    const { seq, duplicate = false } = await this.#repeat(send, subject);
    return { sequence: seq, isDuplicate: duplicate };
  }

  /**
   * Stores all messages or none, next to each other, and resolves with the sequence of the last one. Fails as publish()
   * does. `fence` is a subject of the same stream for a message that finds out whether the batch was stored, if no
   * response told.
   */
  async publishBatch(messages: readonly Message[], fence: string): Promise<Stored> {
    const deadlineMs = performance.now() + this.waitMs;
    for (;;) {
      const id = this.createMessageId();
      try {
        const { seq } = await this.#sendBatch(messages, id);
        return { sequence: seq };
      } catch (error) {
        this.checkOpen();
        const isKnown = error instanceof ApiResponseError && error.code === API_CODES.batchIncomplete;
        if (isRefusal(error) && !isKnown) throw error;
        // A message with the id of the batch's last one: either the batch was stored, or it cannot be any more.
        const probe = { subject: fence, data: new Uint8Array(0), headers: [] };
        const { sequence, isDuplicate } = await this.publishWithId(probe, id);
        if (isDuplicate) return { sequence };
        if (performance.now() > deadlineMs) throw this.#unavailable(error);
      }
    }
  }

  /** Fails with what the cluster answered, or with the error of the request if no outcome is known. */
  async #sendBatch(messages: readonly Message[], id: string): Promise<{ seq: number }> {
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
      const response = await this.nc.request(subject, data, { headers, timeout: ATTEMPT_MS });
      const parsed = this.#parse<{ seq: number }>(response);
      if (parsed) return parsed;
    }
    throw new Error("the cluster did not take the batch");
  }

  close(): void {
    this.#closing.abort();
  }

  /** The response, undefined if the same request may succeed soon; throws its error otherwise. */
  #parse<T>(message: Msg): T | undefined {
    const response = message.json<T & { error?: ApiError }>();
    if (!response.error) return response;
    const error = responseErrorOf(response.error);
    if (error) throw error;
    return undefined;
  }

  /** Calls `attempt` until it returns a response or throws an error of the cluster. */
  async #repeat<T>(attempt: (timeoutMs: number) => Promise<T | undefined>, what: string): Promise<T> {
    const startMs = performance.now();
    let lastError: unknown;
    for (let failures = 1; ; failures++) {
      this.checkOpen();
      const remainingMs = startMs + this.waitMs - performance.now();
      if (remainingMs <= 0) throw this.#unavailable(lastError ?? what);
      try {
        const response = await attempt(Math.max(1, Math.min(ATTEMPT_MS, remainingMs)));
        if (response !== undefined) return response;
      } catch (error) {
        if (isRefusal(error)) throw error;
        lastError = error;
      }
      await delay(jitteredMs(RETRY, failures), this.closing);
    }
  }

  #unavailable(cause: unknown): EngineFault {
    const reason = cause instanceof Error ? cause.message : "it has no leader now";
    return new EngineFault("unavailable", `the cluster has not answered within ${this.waitMs} ms: ${reason}`);
  }
}

/** Whether the cluster has refused the request, so that its outcome is known. */
const isRefusal = (error: unknown): boolean =>
  error instanceof EngineFault || error instanceof ApiResponseError || error instanceof ConditionError;
