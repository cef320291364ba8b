import type { Msg, Subscription } from "@nats-io/transport-node";
import { type Backoff, jitteredMs } from "../../../../lib/backoff.js";
import { runAfter } from "../../../../lib/timer.js";
import { utf8 } from "../../../../lib/utf8.js";
import type { JetStreamSession } from "../session.js";

const NANOS_PER_MS = 1_000_000;

/** How long a request waits for events at the cluster. */
const EXPIRES_MS = 60_000;

/** How often the cluster shows that a request still waits. */
const HEARTBEAT_MS = 5000;

/** After this time without any message the requests are taken for lost, and sent again. */
const LOST_AFTER_MS = 2 * HEARTBEAT_MS + 1000;

const RETRY: Backoff = { minMs: 20, maxMs: 1000 };

/** The header of a request's last message with the number of events that it has not delivered. */
const NOT_DELIVERED = "Nats-Pending-Messages";

interface PullOptions {
  /** The subject of requests for events of one consumer. */
  subject: string;
  /** The number of local consumers that wait for an event. */
  wanted: () => number;
  /** Called with each event, also with one that comes after its request was canceled. */
  onEvent: (message: Msg) => void;
  /** Called when the consumer of the cluster is perhaps gone. */
  onMissing: () => void;
}

/**
 * Requests exactly as many events as local consumers wait for, before the events exist. So each event is claimed by the
 * step of a loop, and other servers get what nobody waits for here.
 */
export class Pulls {
  readonly #session: JetStreamSession;
  readonly #options: PullOptions;
  readonly #base: string;
  #inboxes = 0;
  #inbox: { subject: string; subscription: Subscription } | undefined;
  /** The number of events that are requested and have not come. */
  #requested = 0;
  #requests = 0;
  #isScheduled = false;
  #failures = 0;
  #stopBackoff: (() => void) | undefined;
  #heardMs = 0;
  #stopWatch: (() => void) | undefined;
  #isClosed = false;

  constructor(session: JetStreamSession, inbox: string, options: PullOptions) {
    this.#session = session;
    this.#base = inbox;
    this.#options = options;
  }

  /** Requests what is wanted and not requested yet, soon, so that consumers that wait at once share a request. */
  update(): void {
    if (this.#isScheduled || this.#stopBackoff) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.#request();
    });
  }

  /**
   * Cancels all requests, and requests again what is wanted. The cluster delivers nothing to an inbox without a
   * subscription. An event that is on its way already still comes.
   */
  restart(): void {
    const inbox = this.#inbox;
    this.#inbox = undefined;
    this.#requested = 0;
    this.#stopWatch?.();
    inbox?.subscription.drain().catch(() => {});
    this.update();
  }

  /** Cancels requests for which nobody waits any more. */
  cancelSurplus(): void {
    if (this.#requested > this.#options.wanted()) this.restart();
  }

  close(): void {
    this.#isClosed = true;
    this.#stopBackoff?.();
    this.restart();
  }

  #request(): void {
    const { nc } = this.#session;
    const batch = this.#options.wanted() - this.#requested;
    if (this.#isClosed || this.#stopBackoff || batch <= 0 || nc.isClosed()) return;
    this.#inbox ??= this.#openInbox();
    const request = {
      batch,
      expires: EXPIRES_MS * NANOS_PER_MS,
      idle_heartbeat: HEARTBEAT_MS * NANOS_PER_MS,
    };
    if (this.#requested === 0) this.#watch();
    // The reply's subject says how many events are lost if nobody takes the request.
    const reply = `${this.#inbox.subject}.${batch}.${++this.#requests}`;
    this.#requested += batch;
    nc.publish(this.#options.subject, utf8(JSON.stringify(request)), { reply });
  }

  #openInbox(): { subject: string; subscription: Subscription } {
    const subject = `${this.#base}.${++this.#inboxes}`;
    const inbox = {
      subject,
      subscription: this.#session.nc.subscribe(`${subject}.*.*`, {
        callback: (error, message) => {
          if (!error) this.#onMessage(message, this.#inbox === inbox);
        },
      }),
    };
    return inbox;
  }

  /** `isCurrent`: it is not for a request that was canceled. */
  #onMessage(message: Msg, isCurrent: boolean): void {
    if (isCurrent) this.#heardMs = performance.now();
    const status = message.headers?.code ?? 0;
    if (status === 0) {
      this.#failures = 0;
      if (isCurrent) this.#settle(1);
      this.#options.onEvent(message);
    } else if (isCurrent) {
      this.#onStatus(status, message);
    }
  }

  #onStatus(status: number, { headers, subject }: Msg): void {
    if (status === 100) return;
    const description = headers?.description ?? "";
    const pending = Number(headers?.get(NOT_DELIVERED) || Number.NaN);
    if (status === 503) {
      // No consumer takes requests now: it has no leader, or is gone.
      this.#settle(Number(subject.split(".").at(-2)));
      this.#options.onMissing();
      this.#backOff();
    } else if (status === 408 || status === 404) {
      this.#settle(pending);
      this.update();
    } else if (/deleted/i.test(description)) {
      this.restart();
      this.#options.onMissing();
    } else {
      // A change of the leader, or a refusal: no request may be left, so all are sent again.
      this.#backOff();
      this.restart();
    }
  }

  /** `events` have come, or will not come. */
  #settle(events: number): void {
    this.#requested = Number.isNaN(events) ? 0 : Math.max(0, this.#requested - events);
  }

  #backOff(): void {
    this.#stopBackoff ??= runAfter(jitteredMs(RETRY, ++this.#failures), () => {
      this.#stopBackoff = undefined;
      this.update();
    });
  }

  /** Sends requests again that the cluster has lost with their leader, or with a connection. */
  #watch(): void {
    this.#stopWatch?.();
    this.#heardMs = performance.now();
    const waitFor = (ms: number) => {
      this.#stopWatch = runAfter(ms, () => {
        if (this.#requested === 0) return;
        const remainingMs = this.#heardMs + LOST_AFTER_MS - performance.now();
        if (remainingMs > 0) waitFor(remainingMs);
        else this.restart();
      });
    };
    waitFor(LOST_AFTER_MS);
  }
}
