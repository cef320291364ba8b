import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { type Backoff, jitteredMs } from "../../../lib/backoff.js";
import { expectManyListeners } from "../../../lib/max-listeners.js";
import { delay } from "../../../lib/timer.js";
import { fromUtf8, utf8 } from "../../../lib/utf8.js";
import { EngineFault } from "../../engine.js";
import { closedError, fullError } from "../shared/errors.js";
import { type ApiError, responseErrorOf } from "./errors.js";
import { type InboxRequest, NoReplyError, ReplyInbox } from "./inbox.js";

/** A request without a response for this long is sent again: its leader may have failed. */
export const ATTEMPT_MS = 2000;

/**
 * A read without a reply for this long is sent to another replica as well. The cluster goes on to choose a replica that
 * has stopped, as nothing tells it for minutes.
 */
const HEDGE_MS = 200;

/** The delays between attempts. */
export const RETRY: Backoff = { minMs: 20, maxMs: 250 };

/** The most bytes of a message's headers, which count for max_payload. */
const MAX_HEADER_BYTES = 4096;

/** nats-server's default, while no server is connected. */
const DEFAULT_MAX_PAYLOAD = 1024 ** 2;

/** One attempt of a request: undefined if the same request may succeed soon. */
type Attempt<T> = (timeoutMs: number) => Promise<T | undefined>;

/** How long a request may take. */
export interface RepeatOptions {
  /** The time of its first attempt, in milliseconds; each further one takes up to twice as long. Default: 2 seconds. */
  firstMs?: number;
  /** When it fails, by performance.now(). Default: after `waitMs`. */
  deadlineMs?: number;
}

/** Requests to the cluster, which are sent again while there is no reply, no connection or no leader, for `waitMs`. */
export class Requests {
  readonly #nc: NatsConnection;
  readonly #waitMs: number;
  readonly #inbox: ReplyInbox;
  readonly #closing = new AbortController();
  /** Resolves when the connection is there again; undefined while it is there. */
  #outage: { over: Promise<void>; end: () => void } | undefined;

  /** `id` is a token that no other server has. */
  constructor(nc: NatsConnection, id: string, waitMs: number) {
    this.#nc = nc;
    this.#waitMs = waitMs;
    this.#inbox = new ReplyInbox(nc, id);
    expectManyListeners(this.closing);
  }

  /** Aborts when the engine closes. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Whether there is a connection. */
  get isConnected(): boolean {
    return this.#outage === undefined;
  }

  /** The most bytes of a message with its headers that the connected server takes. */
  get maxPayload(): number {
    return this.#nc.info?.max_payload ?? DEFAULT_MAX_PAYLOAD;
  }

  /** Fails if the engine is closed. */
  checkOpen(): void {
    if (this.closing.aborted) throw closedError("jetstream");
  }

  /** Fails what has no reply yet: it is sent again when there is a connection. */
  connectionLost(): void {
    if (this.#outage) return;
    let end = () => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#outage = { over, end };
    this.#inbox.fail(new NoReplyError("the connection to the cluster was lost"));
  }

  connectionRestored(): void {
    this.#outage?.end();
    this.#outage = undefined;
  }

  close(): void {
    this.#closing.abort();
    this.#inbox.fail(new NoReplyError("the engine is closed"));
  }

  /** Requests JetStream's API, for example `STREAM.INFO.orders`, and returns its response. See RepeatOptions. */
  async api<T>(method: string, body?: object, options?: RepeatOptions): Promise<T> {
    const data = utf8(body ? JSON.stringify(body) : "");
    const subject = `$JS.API.${method}`;
    const send = async (timeoutMs: number) => this.parse<T>(await this.send({ subject, data, timeoutMs }));
    return await this.repeat(send, method, options);
  }

  /** Sends a request once. Fails with a NoReplyError if there is no reply. */
  async send(request: InboxRequest): Promise<Msg> {
    this.checkSize(request.subject, request.data);
    return await this.#inbox.request(request);
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
    return this.repeat(async (timeoutMs) => {
      this.checkSize(subject, data);
      return read(await this.#collectFirst({ subject, data, timeoutMs }, isLast));
    }, subject);
  }

  /** The response, undefined if the same request may succeed soon; throws its error otherwise. */
  parse<T>(message: Msg): T | undefined {
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
  async repeat<T>(
    attempt: Attempt<T>,
    what: string,
    { firstMs = ATTEMPT_MS, deadlineMs = this.deadlineMs() }: RepeatOptions = {},
  ): Promise<T> {
    let attemptMs = firstMs;
    let lastError: unknown;
    for (let failures = 1; ; failures++) {
      if (this.#outage) await this.untilConnected(deadlineMs);
      this.checkOpen();
      const remainingMs = deadlineMs - performance.now();
      if (remainingMs <= 0) throw this.unavailable(lastError ?? what);
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
  deadlineMs(): number {
    return performance.now() + this.#waitMs;
  }

  /** Waits for a connection, until `deadlineMs` at most. */
  async untilConnected(deadlineMs: number): Promise<void> {
    if (!this.#outage) return;
    const stop = new AbortController();
    try {
      const signal = AbortSignal.any([this.closing, stop.signal]);
      await Promise.race([this.#outage.over, delay(deadlineMs - performance.now(), signal)]);
    } finally {
      stop.abort();
    }
  }

  /** Fails for a message that no server of the cluster takes. */
  checkSize(subject: string, data: Uint8Array): void {
    const most = this.maxPayload;
    if (data.length + MAX_HEADER_BYTES <= most) return;
    throw fullError(
      "max_payload",
      most,
      `a message to ${JSON.stringify(subject)} has ${data.length} bytes, which with its headers is more than ` +
        `max_payload of the nats-server, ${most}`,
    );
  }

  /** The error of a request whose outcome is not known, or that was not answered. */
  unavailable(cause: unknown): EngineFault {
    const reason = cause instanceof Error ? cause.message : "it has no leader now";
    return new EngineFault(
      "unavailable",
      `the cluster has not answered within ${this.#waitMs} ms: ${reason}`,
    );
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
}
