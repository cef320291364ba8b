import type { Msg, MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import type { Logger } from "../../context.js";
import type { ClusterClock } from "./cluster-clock.js";
import type { Header, StoredAt, StreamMessage } from "./message.js";
import { type PublishBounds, Publisher } from "./publisher.js";
import { ATTEMPT_MS, Requests } from "./requests.js";

interface SessionOptions {
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
  /** This server among all that use the engine, different with each start; it can be a token of a subject. */
  readonly id = crypto.randomUUID().replaceAll("-", "");
  readonly #requests: Requests;
  readonly #publisher: Publisher;
  readonly #reconnectListeners = new Set<() => void>();

  constructor({ nc, name, clock, waitMs, log }: SessionOptions, createHeaders: () => MsgHdrs) {
    this.nc = nc;
    this.name = name;
    this.clock = clock;
    this.waitMs = waitMs;
    this.log = log;
    this.#requests = new Requests(nc, this.id, waitMs);
    this.#publisher = new Publisher(this.#requests, { nc, id: this.id, log, createHeaders });
  }

  /** Aborts when the engine closes. */
  get closing(): AbortSignal {
    return this.#requests.closing;
  }

  /** The most bytes of a message with its headers that the connected server takes. */
  get maxPayload(): number {
    return this.#requests.maxPayload;
  }

  /** Fails if the engine is closed. */
  checkOpen(): void {
    this.#requests.checkOpen();
  }

  /** The connection was lost: what has no reply yet is sent again when there is another. */
  connectionLost(): void {
    this.#requests.connectionLost();
  }

  /** The connection is there again, to this or another server of the cluster. */
  connectionRestored(): void {
    this.#requests.connectionRestored();
    for (const listener of this.#reconnectListeners) listener();
  }

  /** Calls `listener` after each reconnect. Returns a function that removes it. */
  onReconnect(listener: () => void): () => void {
    this.#reconnectListeners.add(listener);
    return () => this.#reconnectListeners.delete(listener);
  }

  /** Headers for a message. */
  headersOf(entries: Iterable<Header>): MsgHdrs {
    return this.#publisher.headersOf(entries);
  }

  /** A new id of a message, for a publish that is sent again until its outcome is known. */
  createMessageId(): string {
    return this.#publisher.createMessageId();
  }

  /** Requests JetStream's API, for example `STREAM.INFO.orders`, and returns its response. It may be sent repeatedly. */
  api<T>(method: string, body?: object): Promise<T> {
    return this.#requests.api<T>(method, body);
  }

  /**
   * Sends a request that may be sent repeatedly, until there is a response: with no responders it waits for one.
   * `timeoutMs` is the time that one attempt may take. Default: 2 seconds.
   */
  request(subject: string, data: Uint8Array, timeoutMs = ATTEMPT_MS): Promise<Msg> {
    const send = (most: number) =>
      this.#requests.send({ subject, data, timeoutMs: Math.min(most, timeoutMs) });
    return this.#requests.repeat(send, subject);
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
    return this.#requests.collect(subject, data, isLast, read);
  }

  /** Stores a message at least once: for one that may be stored again without harm. */
  publishRepeatedly(message: StreamMessage): Promise<StoredAt & { attempts: number }> {
    return this.#publisher.publishRepeatedly(message);
  }

  /**
   * Stores a message once, and resolves when a quorum has it. Fails with a ConditionError if its condition does not
   * hold, and as EngineFault "unavailable" if its outcome is not known within `waitMs`. See publishWithId() for `bounds`.
   */
  async publish(message: StreamMessage, bounds?: PublishBounds): Promise<StoredAt> {
    const { sequence } = await this.publishWithId(message, this.createMessageId(), bounds);
    return { sequence };
  }

  /**
   * publish() with an id of createMessageId(). `isDuplicate`: a message with the id was stored before, and stays. The
   * default of `bounds.fence` is the token `!` below the subject's first two.
   */
  publishWithId(
    message: StreamMessage,
    id: string,
    bounds?: PublishBounds,
  ): Promise<StoredAt & { isDuplicate: boolean }> {
    return this.#publisher.publishWithId(message, id, bounds);
  }

  /** Stores all messages or none, next to each other: the sequence of the last one. Fails as publish() does. */
  publishBatch(
    messages: readonly StreamMessage[],
    bounds: PublishBounds & { fence: string },
  ): Promise<StoredAt> {
    return this.#publisher.publishBatch(messages, bounds);
  }

  close(): void {
    this.#requests.close();
  }
}
