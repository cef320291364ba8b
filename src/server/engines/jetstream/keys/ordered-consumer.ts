import type { Msg, Subscription } from "@nats-io/transport-node";
import { type Backoff, jitteredMs } from "../../../../lib/backoff.js";
import { delay } from "../../../../lib/timer.js";
import { EngineFault } from "../../../engine.js";
import type { JetStreamSession } from "../session.js";
import { MARKER_TTL_MS, streamName } from "../streams.js";

const NANOS_PER_MS = 1_000_000;

/** A consumer without messages sends a heartbeat this often. Without any for longer, it is replaced. */
const HEARTBEAT_MS = 1000;
const SILENCE_MS = 2500;

/** nats-server removes a consumer whose server has gone after this time. */
const INACTIVE_MS = 10_000;

/** How long the removal of a consumer may take. */
const REMOVAL_MS = 1000;

const RETRY: Backoff = { minMs: 50, maxMs: 2000 };

/** Deletions are not known for longer: a consumer that was away for this long may have missed some. */
const MAX_AWAY_MS = MARKER_TTL_MS - 60_000;

/** What a consumer reads, and where its messages go. */
export interface OrderedConsumerOptions {
  filter: string;
  /** The sequence after which it starts. */
  after: number;
  onMessage: (subject: string, sequence: number, message: Msg) => void;
  /** It has ended, as it cannot tell all changes any more. */
  onFailure: (error: Error) => void;
}

/** How many consumers this process has had: part of their names. */
let consumers = 0;

/**
 * Reads messages of the stream of keys in order, each once, from one sequence on. If its consumer is lost, or a message
 * of it, another consumer continues after the last message.
 */
export class OrderedConsumer {
  readonly #session: JetStreamSession;
  readonly #options: OrderedConsumerOptions;
  readonly #stream: string;
  readonly #stopped = new AbortController();
  readonly #removeListener: () => void;
  /** This consumer among those of the server. */
  readonly #number = consumers++;
  /** The sequence of the last message. */
  #position: number;
  /** How many messages the present consumer has delivered. */
  #delivered = 0;
  #incarnation = 0;
  #subscription: Subscription | undefined;
  #aliveAtMs = performance.now();
  /** When everything up to the present was known for the last time. */
  #currentAtMs = performance.now();
  readonly #monitor: NodeJS.Timeout;

  constructor(session: JetStreamSession, options: OrderedConsumerOptions) {
    this.#session = session;
    this.#options = options;
    this.#stream = streamName(session.name, "keys");
    this.#position = options.after;
    this.#monitor = setInterval(() => this.#checkSilence(), HEARTBEAT_MS).unref();
    this.#removeListener = session.onReconnect(() => this.#restart());
    this.#restart();
  }

  /** Stops, and resolves when the consumer is removed, or that could not be done. */
  async stop(): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    this.#stopped.abort();
    clearInterval(this.#monitor);
    this.#removeListener();
    await this.#leave();
  }

  #checkSilence(): void {
    if (performance.now() - this.#aliveAtMs > SILENCE_MS) this.#restart();
  }

  /** Replaces the consumer by one that continues after the last message. */
  #restart(): void {
    void this.#leave();
    this.#aliveAtMs = performance.now();
    void this.#start(this.#incarnation);
  }

  /** Unsubscribes from the present consumer, and removes it. */
  async #leave(): Promise<void> {
    const consumer = this.#subscription && this.#nameOf(this.#incarnation);
    this.#incarnation++;
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    if (consumer === undefined) return;
    try {
      const method = `$JS.API.CONSUMER.DELETE.${this.#stream}.${consumer}`;
      await this.#session.nc.request(method, undefined, { timeout: REMOVAL_MS });
    } catch {
      // nats-server removes it after INACTIVE_MS.
    }
  }

  async #start(incarnation: number): Promise<void> {
    for (let failures = 1; incarnation === this.#incarnation; failures++) {
      this.#aliveAtMs = performance.now();
      if (this.#aliveAtMs - this.#currentAtMs > MAX_AWAY_MS) {
        this.#fail(outdated());
        return;
      }
      try {
        await this.#create(incarnation);
        return;
      } catch (error) {
        if (incarnation !== this.#incarnation) return;
        const isTemporary = error instanceof EngineFault && error.reason === "unavailable";
        if (!isTemporary || this.#session.closing.aborted) {
          this.#fail(error as Error);
          return;
        }
      }
      await delay(jitteredMs(RETRY, failures), this.#stopped.signal);
    }
  }

  #fail(error: Error): void {
    void this.stop();
    this.#options.onFailure(error);
  }

  async #create(incarnation: number): Promise<void> {
    const name = this.#nameOf(incarnation);
    const deliver = `_INBOX.${this.#session.id}.w.${name}`;
    this.#delivered = 0;
    this.#subscription?.unsubscribe();
    this.#subscription = this.#session.nc.subscribe(deliver, {
      callback: (error, message) => {
        if (incarnation !== this.#incarnation) return;
        if (error) this.#restart();
        else this.#receive(message);
      },
    });
    await this.#session.api(`CONSUMER.CREATE.${this.#stream}.${name}`, {
      stream_name: this.#stream,
      config: {
        name,
        deliver_subject: deliver,
        deliver_policy: "by_start_sequence",
        opt_start_seq: this.#position + 1,
        filter_subject: this.#options.filter,
        ack_policy: "none",
        max_deliver: 1,
        flow_control: true,
        idle_heartbeat: HEARTBEAT_MS * NANOS_PER_MS,
        inactive_threshold: INACTIVE_MS * NANOS_PER_MS,
        mem_storage: true,
        num_replicas: 1,
      },
    });
  }

  #receive(message: Msg): void {
    this.#aliveAtMs = performance.now();
    this.#currentAtMs = this.#aliveAtMs;
    const { headers } = message;
    if (headers?.code) {
      this.#receiveStatus(message, headers.code);
      return;
    }
    const { sequence, delivered } = positionOf(message.reply ?? "");
    if (delivered !== this.#delivered + 1) {
      this.#restart();
      return;
    }
    this.#delivered = delivered;
    this.#position = sequence;
    this.#options.onMessage(message.subject, sequence, message);
  }

  /** A heartbeat, a request for flow control, or the end of the consumer. */
  #receiveStatus(message: Msg, code: number): void {
    if (code !== 100) {
      this.#restart();
      return;
    }
    const stalled = message.headers?.get("Nats-Consumer-Stalled");
    const reply = message.reply || stalled;
    if (reply) this.#session.nc.publish(reply);
    const last = message.headers?.get("Nats-Last-Consumer");
    if (last && Number(last) !== this.#delivered) this.#restart();
  }

  #nameOf(incarnation: number): string {
    return `${this.#session.id}-${this.#number}-${incarnation}`;
  }
}

/** The sequence of a message in its stream, and among those of its consumer. */
function positionOf(reply: string): { sequence: number; delivered: number } {
  // $JS.ACK.stream.consumer.deliveries.sequence.delivered.timestamp.pending, perhaps with a domain and an account.
  const tokens = reply.split(".");
  const first = tokens.length >= 11 ? 7 : 5;
  return { sequence: Number(tokens[first]), delivered: Number(tokens[first + 1]) };
}

const outdated = (): EngineFault =>
  new EngineFault(
    "unavailable",
    "the cluster was away for so long that changes of keys may be lost: watch again",
  );
