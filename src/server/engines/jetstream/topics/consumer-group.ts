import type { Msg } from "@nats-io/transport-node";
import type { Delivery } from "../../../engine.js";
import { Consumer } from "../../shared/consumer.js";
import type { JetStreamSession } from "../session.js";
import { type Claim, type Claims, claimOf } from "./claims.js";
import type { GroupConsumers } from "./group-consumers.js";
import type { GroupName } from "./group-names.js";
import { Pulls } from "./pulls.js";

interface GroupOptions {
  session: JetStreamSession;
  name: GroupName;
  /** The stream of topics. */
  stream: string;
  /** A subject of this group and server, for the events. */
  inbox: string;
  consumers: GroupConsumers;
  claims: Claims;
  /** Called before the group begins or is joined, and waited for. */
  beforeJoin: () => Promise<void>;
  /** Called when the last local consumer has left. */
  onEmpty: () => void;
}

class LocalConsumer extends Consumer<Claim> {
  /** Why it left, if the group could not begin. */
  fault: unknown;
}

/** The consumers of this server in one group. The cluster has the group and its events. */
export class DurableGroup {
  readonly #options: GroupOptions;
  readonly #consumers = new Set<LocalConsumer>();
  /** The consumers that wait for an event, longest first. */
  readonly #waiting = new Set<LocalConsumer>();
  readonly #pulls: Pulls;
  #begun: Promise<void> | undefined;
  #isOpen = false;
  /** Events on their way back to the group. Others are requested after they are there, as they come first. */
  readonly #returning = new Set<Promise<void>>();
  #isBeginningAgain = false;

  constructor(options: GroupOptions) {
    this.#options = options;
    const { session, stream, name, inbox } = options;
    this.#pulls = new Pulls(session, inbox, {
      subject: `$JS.API.CONSUMER.MSG.NEXT.${stream}.${name.consumer}`,
      wanted: () => (this.#isOpen && this.#returning.size === 0 ? this.#waiting.size : 0),
      onEvent: (message) => this.#onEvent(message),
      onMissing: () => void this.#beginAgain(),
    });
  }

  get name(): GroupName {
    return this.#options.name;
  }

  /** Resolves when the group has begun: the publishes of all servers reach it. Fails if it could not begin. */
  async begun(): Promise<void> {
    await this.#begun;
  }

  /** Whether the group has local consumers, or events on their way back. */
  get isInUse(): boolean {
    return this.#consumers.size > 0 || this.#returning.size > 0;
  }

  join(signal: AbortSignal): AsyncIterable<Delivery> {
    const consumer = new LocalConsumer(() => {
      signal.removeEventListener("abort", consumer.leave);
      this.#onLeave(consumer);
    });
    // Without a consumer the group may have been removed since it was joined last.
    if (this.#consumers.size === 0) this.#begin();
    this.#consumers.add(consumer);
    if (signal.aborted) consumer.leave();
    else signal.addEventListener("abort", consumer.leave, { once: true });
    return this.#deliver(consumer);
  }

  /** Requests events again after the connection was lost. */
  reconnect(): void {
    this.#pulls.restart();
  }

  /** Ends the consumers. Resolves when their events are back in the group. */
  async close(): Promise<void> {
    for (const consumer of [...this.#consumers]) consumer.leave();
    this.#pulls.close();
    await Promise.all(this.#returning);
  }

  #begin(): void {
    this.#isOpen = false;
    const begin = async () => {
      await this.#options.beforeJoin();
      await this.#options.consumers.begin(this.name);
    };
    const begun = begin();
    this.#begun = begun;
    begun.then(
      () => {
        if (this.#begun !== begun) return;
        this.#isOpen = true;
        this.#pulls.update();
        this.#endIfEmpty();
      },
      (error: unknown) => {
        if (this.#begun !== begun) return;
        for (const consumer of [...this.#consumers]) {
          consumer.fault = error;
          consumer.leave();
        }
        this.#endIfEmpty();
      },
    );
  }

  async *#deliver(consumer: LocalConsumer): AsyncGenerator<Delivery, void, undefined> {
    try {
      while (!consumer.hasLeft) {
        this.#waiting.add(consumer);
        this.#pulls.update();
        const claim = await consumer.nextAssigned();
        if (!claim || consumer.hasLeft) break;
        yield this.#options.claims.deliveryOf(claim, () => consumer.claimed.delete(claim));
      }
      if (consumer.fault) throw consumer.fault;
    } finally {
      consumer.leave();
    }
  }

  #onEvent(message: Msg): void {
    const claim = claimOf(message);
    const [consumer] = this.#waiting;
    if (!consumer) {
      this.#return([claim]);
      return;
    }
    this.#waiting.delete(consumer);
    this.#options.claims.add(claim);
    consumer.assign(claim);
    // It may have come for a request that was canceled.
    this.#pulls.cancelSurplus();
  }

  #onLeave(consumer: LocalConsumer): void {
    this.#consumers.delete(consumer);
    const hasWaited = this.#waiting.delete(consumer);
    if (hasWaited) this.#pulls.cancelSurplus();
    const claims = [...consumer.claimed].sort((a, b) => a.sequence - b.sequence);
    this.#return(claims, hasWaited && claims.length > 1 ? this.#forgetCanceled() : undefined);
    this.#endIfEmpty();
  }

  /** Returns events to the front of the group, in order, when `ready` has resolved. */
  #return(claims: readonly Claim[], ready?: Promise<unknown>): void {
    const { claims: answers } = this.#options;
    for (const claim of claims) {
      // If this fails, the cluster delivers the event again when its claim has run out.
      const returning = (ready ? ready.then(() => answers.return(claim)) : answers.return(claim))
        .catch(() => {})
        .finally(() => {
          this.#returning.delete(returning);
          this.#pulls.update();
          this.#endIfEmpty();
        });
      this.#returning.add(returning);
    }
  }

  /**
   * Lets the cluster forget requests that were canceled, as it does when it counts them. Else the first returned event
   * would be taken for such a request, and put behind the others.
   */
  async #forgetCanceled(): Promise<void> {
    await this.#options.consumers.state(this.name).catch(() => {});
  }

  #endIfEmpty(): void {
    if (!this.isInUse) this.#options.onEmpty();
  }

  /** Creates the consumer of the cluster again if somebody has deleted it. */
  async #beginAgain(): Promise<void> {
    if (this.#isBeginningAgain || !this.#isOpen) return;
    this.#isBeginningAgain = true;
    const { topic, group } = this.name;
    const { session, consumers } = this.#options;
    try {
      if (await consumers.begin(this.name)) {
        const text = "a consumer group was deleted at the cluster and created again: it may lack events";
        session.log.warn({ topic, group }, text);
      }
    } catch (error) {
      // The next request for events tries again.
      if (!session.closing.aborted) {
        session.log.warn({ topic, group, err: error }, "a consumer group cannot be reached");
      }
    } finally {
      this.#isBeginningAgain = false;
      this.#pulls.update();
    }
  }
}
