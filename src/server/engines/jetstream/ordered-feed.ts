import type { Msg, Subscription } from "@nats-io/transport-node";
import { type Backoff, jitteredMs } from "../../../lib/backoff.js";
import { randomId } from "../../../lib/random-id.js";
import { delay, runAfter } from "../../../lib/timer.js";
import { EngineFault } from "../../engine.js";
import { ApiResponseError } from "./errors.js";
import type { JetStreamSession } from "./session.js";

const NANOS_PER_MS = 1_000_000;

/** A consumer sends a heartbeat this often if it has nothing else to send. */
const HEARTBEAT_MS = 1000;

/** Without a message or heartbeat for this long, the consumer is replaced: its server may have failed. */
const SILENCE_MS = 2500;

/** The cluster removes a consumer without a reader after this time. */
const IDLE_CONSUMER_MS = 30_000;

const RETRY: Backoff = { minMs: 50, maxMs: 1000 };

/** The messages to follow, and how. */
export interface FeedOptions {
  stream: string;
  /** The subjects, with wildcards. */
  filter: string;
  /** Only headers are sent, and no payload. */
  isHeadersOnly: boolean;
  onMessage: (subject: string, sequence: number, message: Msg) => void;
  /** How long the cluster may be away, in milliseconds, before messages may be missing. Default: for ever. */
  maxAwayMs?: number;
  /** Called when the feed has ended, as there is no consumer that could go on without a gap. Default: it tries again. */
  onFailure?: (error: Error) => void;
}

/**
 * The messages of a stream from a place on, in order and without gap: an ordered consumer. It has no acknowledgements;
 * if one message is missing, or the server that sends them fails, another consumer goes on behind the last message.
 */
export class OrderedFeed {
  readonly #session: JetStreamSession;
  readonly #options: FeedOptions;
  readonly #closing = new AbortController();
  /** The sequence of the stream from which on messages are to come. */
  #next: number;
  /** The sequence of the last message among those of the consumer. */
  #received = 0;
  #subscription: Subscription | undefined;
  #consumer = "";
  #stopTimer: (() => void) | undefined;
  #resetting: Promise<void> | undefined;
  readonly #stopListening: () => void;
  /** When something came from a consumer for the last time. */
  #aliveAtMs = performance.now();

  private constructor(session: JetStreamSession, from: number, options: FeedOptions) {
    this.#session = session;
    this.#next = from;
    this.#options = options;
    // What was sent while there was no connection is lost. The next heartbeat would show it, later.
    this.#stopListening = session.onReconnect(() => this.#reset());
  }

  /** Resolves when the feed sends all that is stored from the sequence `from` on. */
  static async open(session: JetStreamSession, from: number, options: FeedOptions): Promise<OrderedFeed> {
    const feed = new OrderedFeed(session, from, options);
    feed.#resetting = feed.#createConsumer().finally(() => {
      feed.#resetting = undefined;
    });
    try {
      await feed.#resetting;
    } catch (error) {
      feed.close();
      throw error;
    }
    return feed;
  }

  close(): void {
    this.#closing.abort();
    this.#stopListening();
    this.#removeConsumer();
  }

  async #createConsumer(): Promise<void> {
    const { stream, filter, isHeadersOnly } = this.#options;
    this.#removeConsumer();
    const { nc } = this.#session;
    const inbox = `_INBOX.${randomId()}`;
    const subscription = nc.subscribe(inbox, {
      callback: (error, message) => {
        if (this.#subscription !== subscription) return;
        if (error) this.#reset();
        else this.#receive(message);
      },
    });
    this.#subscription = subscription;
    this.#consumer = randomId();
    this.#received = 0;
    this.#watch();
    await this.#session.api(`CONSUMER.CREATE.${stream}.${this.#consumer}.${filter}`, {
      stream_name: stream,
      action: "create",
      config: {
        name: this.#consumer,
        deliver_subject: inbox,
        deliver_policy: "by_start_sequence",
        opt_start_seq: this.#next,
        filter_subject: filter,
        ack_policy: "none",
        max_deliver: 1,
        flow_control: true,
        idle_heartbeat: HEARTBEAT_MS * NANOS_PER_MS,
        inactive_threshold: IDLE_CONSUMER_MS * NANOS_PER_MS,
        mem_storage: true,
        num_replicas: 1,
        ...(isHeadersOnly && { headers_only: true }),
      },
    });
  }

  #removeConsumer(): void {
    this.#stopTimer?.();
    if (!this.#subscription) return;
    this.#subscription.unsubscribe();
    this.#subscription = undefined;
    // Best effort: a consumer without a subscription is removed by the cluster as well.
    this.#session.api(`CONSUMER.DELETE.${this.#options.stream}.${this.#consumer}`).catch(() => {});
  }

  #receive(message: Msg): void {
    this.#watch();
    this.#aliveAtMs = performance.now();
    const { headers, reply } = message;
    if (headers?.code === 100) {
      if (reply) message.respond();
      const stalled = headers.get("Nats-Consumer-Stalled");
      if (stalled) this.#session.nc.publish(stalled);
      const last = headers.get("Nats-Last-Consumer");
      if (last !== "" && Number(last) !== this.#received) this.#reset();
      return;
    }
    const place = placeOf(reply ?? "");
    if (!place || place.delivered !== this.#received + 1) {
      this.#reset();
      return;
    }
    this.#received = place.delivered;
    this.#next = place.sequence + 1;
    this.#options.onMessage(message.subject, place.sequence, message);
  }

  #watch(): void {
    this.#stopTimer?.();
    this.#stopTimer = runAfter(SILENCE_MS, () => this.#reset());
  }

  /** Creates another consumer, behind the last message that has come. */
  #reset(): void {
    this.#resetting ??= this.#createUntilDone().finally(() => {
      this.#resetting = undefined;
    });
  }

  async #createUntilDone(): Promise<void> {
    const { maxAwayMs = Number.POSITIVE_INFINITY } = this.#options;
    for (let failures = 1; !this.#closing.signal.aborted; failures++) {
      if (performance.now() - this.#aliveAtMs > maxAwayMs) {
        this.#fail(
          new EngineFault("unavailable", "the cluster was away for so long that changes may be lost"),
        );
        return;
      }
      try {
        await this.#createConsumer();
        return;
      } catch (error) {
        if (this.#options.onFailure && error instanceof ApiResponseError) {
          this.#fail(error);
          return;
        }
        this.#session.log.warn(
          { err: error, stream: this.#options.stream },
          "a consumer could not be created",
        );
        await delay(jitteredMs(RETRY, failures), this.#closing.signal);
      }
    }
  }

  #fail(error: Error): void {
    this.close();
    this.#options.onFailure?.(error);
  }
}

/** The sequences of a message, which its reply subject has: $JS.ACK.[domain.account.]stream.consumer.delivered… */
function placeOf(reply: string): { sequence: number; delivered: number } | undefined {
  const tokens = reply.split(".");
  // The tokens after the consumer's name: deliveries, stream sequence, consumer sequence, time, pending.
  const at = tokens.length < 11 ? 5 : 7;
  const [sequence, delivered] = [Number(tokens[at]), Number(tokens[at + 1])];
  return sequence > 0 && delivered > 0 ? { sequence, delivered } : undefined;
}
