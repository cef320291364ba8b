import { delay } from "../../../lib/timer.js";
import { type Delivery, EngineFault, type TopicStore } from "../../engine.js";
import { closedError, fullError } from "../shared/errors.js";
import type { JETSTREAM_BOUNDS } from "./bounds.js";
import type { StreamMessage } from "./message.js";
import type { JetStreamSession } from "./session.js";
import { Claims } from "./topics/claims.js";
import { DurableGroup } from "./topics/consumer-group.js";
import { GroupConsumers } from "./topics/group-consumers.js";
import { type GroupName, GroupNames } from "./topics/group-names.js";
import { IdleGroups } from "./topics/idle-groups.js";
import { StrayEvents } from "./topics/stray-events.js";

/** The most messages of an atomic batch, which is the default of nats-server. */
const MAX_EVENTS = 1000;

/** How long closing waits until the events of its consumers are back in their groups. */
const CLOSE_MS = 2000;

/**
 * The topics of the JetStream engine. One stream has the events of all topics until every group has handled them. Each
 * group is a durable consumer of the cluster, so that it and its events are the same for all servers.
 */
export class JetStreamTopics implements TopicStore {
  readonly #session: JetStreamSession;
  readonly #bounds: Readonly<Record<keyof typeof JETSTREAM_BOUNDS, number>>;
  readonly #names: GroupNames;
  readonly #consumers: GroupConsumers;
  readonly #claims: Claims;
  readonly #idle: IdleGroups;
  readonly #stray: StrayEvents;
  /** The groups with local consumers, by the names of their consumers. */
  readonly #groups = new Map<string, DurableGroup>();
  /** The groups that begin now, by topic. */
  readonly #beginning = new Map<string, Set<Promise<void>>>();
  #inboxes = 0;
  #isClosed = false;

  constructor(session: JetStreamSession, bounds: Readonly<Record<keyof typeof JETSTREAM_BOUNDS, number>>) {
    this.#session = session;
    this.#bounds = bounds;
    this.#names = new GroupNames(session.name);
    this.#consumers = new GroupConsumers(session, this.#names, bounds);
    this.#claims = new Claims(session);
    this.#idle = new IdleGroups({
      ...bounds,
      session,
      consumers: this.#consumers,
      present: () => [...this.#groups.values()].map(({ name }) => name),
    });
    this.#stray = new StrayEvents(this.#consumers);
    // Requests for events are lost with the connection.
    session.onReconnect(() => {
      for (const group of this.#groups.values()) group.reconnect();
    });
  }

  /** Call once, before all other methods. */
  open(): Promise<void> {
    return this.#consumers.createInterest();
  }

  async publish(topic: string, values: readonly Uint8Array[]): Promise<void> {
    this.#checkOpen();
    if (values.length > MAX_EVENTS) throw tooManyEvents(values.length);
    const beginning = this.#beginning.get(topic);
    // What is published after consume() reaches the group. If it cannot begin, its consumers are told.
    if (beginning) await Promise.allSettled(beginning);
    const subject = this.#names.subjectOf(topic);
    const messages = values.map((data): StreamMessage => ({ subject, data, headers: [] }));
    const [first, second] = messages;
    if (!first) return;
    try {
      if (second) await this.#session.publishBatch(messages, { fence: this.#names.fence });
      else await this.#session.publish(first);
      this.#stray.published(subject);
    } catch (error) {
      throw this.#explained(error);
    }
  }

  async createGroup(topic: string, group: string): Promise<void> {
    const opened = this.#openGroup(topic, group);
    opened.join(AbortSignal.abort());
    await opened.begun();
  }

  consume(topic: string, group: string, signal: AbortSignal): AsyncIterable<Delivery> {
    const opened = this.#openGroup(topic, group);
    const deliveries = opened.join(signal);
    this.#noteBeginning(topic, opened.begun());
    return deliveries;
  }

  async hasWaiting(topic: string, group: string): Promise<boolean> {
    this.#checkOpen();
    const name = this.#names.of(topic, group);
    await this.#groups.get(name.consumer)?.begun();
    return await this.#consumers.hasEvents(name);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#idle.close();
    this.#stray.close();
    const closed = Promise.all([...this.#groups.values()].map((group) => group.close()));
    // A cluster that cannot be reached returns the events itself, when their claims have run out.
    await Promise.race([closed, delay(CLOSE_MS, this.#session.closing)]);
    this.#claims.close();
  }

  #openGroup(topic: string, group: string): DurableGroup {
    this.#checkOpen();
    const name = this.#names.of(topic, group);
    return this.#groups.get(name.consumer) ?? this.#addGroup(name);
  }

  #addGroup(name: GroupName): DurableGroup {
    const session = this.#session;
    const created = new DurableGroup({
      session,
      name,
      stream: this.#names.stream,
      inbox: `_INBOX.${session.id}.t${++this.#inboxes}`,
      consumers: this.#consumers,
      claims: this.#claims,
      beforeJoin: () => this.#idle.join(name),
      onEmpty: () => {
        if (this.#groups.get(name.consumer) !== created) return;
        this.#groups.delete(name.consumer);
        if (!this.#isClosed) this.#idle.leave(name);
      },
    });
    this.#groups.set(name.consumer, created);
    return created;
  }

  #noteBeginning(topic: string, begun: Promise<void>): void {
    const all = this.#beginning.get(topic) ?? new Set();
    this.#beginning.set(topic, all.add(begun));
    const forget = () => {
      all.delete(begun);
      if (all.size === 0 && this.#beginning.get(topic) === all) this.#beginning.delete(topic);
    };
    begun.then(forget, forget);
  }

  #explained(error: unknown): unknown {
    const { maxTopicBytes } = this.#bounds;
    const isFull = error instanceof EngineFault && error.reason === "full";
    if (!isFull || !Number.isFinite(maxTopicBytes)) return error;
    return fullError("maxTopicBytes", maxTopicBytes, "events wait for the consumer groups of all topics");
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closedError("jetstream");
  }
}

const tooManyEvents = (count: number): EngineFault =>
  new EngineFault("full", `a publish of ${count} events: JetStream stores at most ${MAX_EVENTS} together`);
