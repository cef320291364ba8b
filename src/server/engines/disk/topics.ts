import type { Logger } from "../../context.js";
import type { Delivery, TopicStore } from "../../engine.js";
import type { Clock } from "../shared/clock.js";
import { closedError, fullError } from "../shared/errors.js";
import { logDroppedEvents } from "../shared/log-dropped-events.js";
import { ConsumerGroup, weight } from "./consumer-group.js";
import { type GroupState, TopicEntries } from "./topic-entries.js";
import type { Tree } from "./tree.js";

export interface TopicLimits {
  maxBacklogBytes: number;
  maxTopicBytes: number;
  maxTopics: number;
  maxGroups: number;
  groupIdleMs: number;
  groupBacklogIdleMs: number;
  log: Pick<Logger, "warn">;
}

/** The topics of the disk engine. Each group has its own entries in the tree for its waiting events. */
export class DiskTopics implements TopicStore {
  readonly #topics = new Map<string, Map<string, ConsumerGroup>>();
  readonly #entries: TopicEntries;
  readonly #clock: Clock;
  readonly #limits: TopicLimits;
  /** The bytes of all groups. An event counts once for each group that it waits for. */
  #bytes = 0;
  #closed = false;

  private constructor(tree: Tree, limits: TopicLimits) {
    this.#entries = new TopicEntries(tree);
    this.#clock = tree.clock;
    this.#limits = limits;
  }

  static async open(tree: Tree, limits: TopicLimits): Promise<DiskTopics> {
    const topics = new DiskTopics(tree, limits);
    for await (const { topic, name, state } of topics.#entries.groups()) {
      topics.#put(topic, name, topics.#group(topic, name, state, Promise.resolve(), false));
    }
    void topics.#removeForgotten();
    return topics;
  }

  async publish(topic: string, values: readonly Uint8Array[]): Promise<void> {
    this.#checkOpen();
    const groups = this.#topics.get(topic);
    if (!groups) return;
    const { maxBacklogBytes, maxTopicBytes } = this.#limits;
    const bytes = values.reduce((sum, value) => sum + weight(value), 0);
    for (const [name, group] of groups) {
      if (group.bytes + bytes <= maxBacklogBytes) continue;
      throw fullError("maxBacklogBytes", maxBacklogBytes, `events wait for the consumer group "${name}"`);
    }
    if (this.#bytes + bytes * groups.size > maxTopicBytes) {
      throw fullError("maxTopicBytes", maxTopicBytes, "events wait for the consumer groups of all topics");
    }
    const parts = [...groups.values()].map((group) => group.preparePublish(values));
    try {
      await this.#entries.write(
        parts.flatMap(({ ops }) => ops),
        () => {
          for (const { applied } of parts) applied();
        },
      );
    } catch (error) {
      for (const { failed } of parts) failed();
      throw error;
    }
  }

  async createGroup(topic: string, name: string): Promise<void> {
    const group = this.#openGroup(topic, name);
    group.join(AbortSignal.abort());
    await group.created;
  }

  consume(topic: string, name: string, signal: AbortSignal): AsyncIterable<Delivery> {
    return this.#openGroup(topic, name).join(signal);
  }

  async hasWaiting(topic: string, name: string): Promise<boolean> {
    this.#checkOpen();
    return (this.#topics.get(topic)?.get(name)?.bytes ?? 0) > 0;
  }

  close(): void {
    this.#closed = true;
    for (const groups of this.#topics.values()) for (const group of groups.values()) group.close(true);
    this.#topics.clear();
  }

  #openGroup(topic: string, name: string): ConsumerGroup {
    this.#checkOpen();
    return this.#topics.get(topic)?.get(name) ?? this.#createGroup(topic, name);
  }

  #createGroup(topic: string, name: string): ConsumerGroup {
    const { maxTopics, maxGroups } = this.#limits;
    const groups = this.#topics.get(topic);
    if (groups && groups.size >= maxGroups) {
      throw fullError("maxGroups", maxGroups, `the topic has no room for consumer group "${name}"`);
    }
    if (!groups && this.#topics.size >= maxTopics) {
      throw fullError("maxTopics", maxTopics, "all topics of the disk engine with consumer groups");
    }
    const state: GroupState = { id: this.#entries.nextNumber(), bytes: 0 };
    const created = this.#entries.write([this.#entries.group(topic, name, state)]);
    const group = this.#group(topic, name, state, created, true);
    created.catch(() => this.#drop(topic, name, group));
    this.#put(topic, name, group);
    return group;
  }

  #group(
    topic: string,
    name: string,
    state: GroupState,
    created: Promise<void>,
    isNew: boolean,
  ): ConsumerGroup {
    const { groupIdleMs: idleMs, groupBacklogIdleMs: backlogIdleMs, log } = this.#limits;
    const onBytes = (change: number) => {
      this.#bytes += change;
    };
    const onIdle = () => {
      this.#drop(topic, name, group);
      // If the write fails, the group is there again after the next start.
      this.#entries.forget(topic, name, state).then(
        (events) => logDroppedEvents(log, topic, name, events),
        () => {},
      );
    };
    const [entries, clock] = [this.#entries, this.#clock];
    const options = { topic, name, state, entries, clock, idleMs, backlogIdleMs, created, onBytes, onIdle };
    const group: ConsumerGroup = new ConsumerGroup(options, isNew);
    return group;
  }

  async #removeForgotten(): Promise<void> {
    try {
      for await (const { topic, name, events } of this.#entries.removeForgotten()) {
        logDroppedEvents(this.#limits.log, topic, name, events);
      }
    } catch {
      // The remaining groups are removed after the next start.
    }
  }

  #put(topic: string, name: string, group: ConsumerGroup): void {
    const groups = this.#topics.get(topic) ?? new Map<string, ConsumerGroup>();
    this.#topics.set(topic, groups.set(name, group));
  }

  #drop(topic: string, name: string, group: ConsumerGroup): void {
    group.close(false);
    const groups = this.#topics.get(topic);
    if (groups?.get(name) === group) groups.delete(name);
    if (groups?.size === 0) this.#topics.delete(topic);
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError("disk");
  }
}
