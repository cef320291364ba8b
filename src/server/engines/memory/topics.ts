import { Heap } from "../../../lib/heap.js";
import { runAfter } from "../../../lib/timer.js";
import type { Logger } from "../../context.js";
import type { Delivery, TopicStore } from "../../engine.js";
import { Consumer } from "../shared/consumer.js";
import { closedError, fullError } from "../shared/errors.js";
import { type IdleTimeouts, IdleTimer } from "../shared/idle-timer.js";
import { logDroppedEvents } from "../shared/log-dropped-events.js";
import { compactBytes } from "./compact-bytes.js";

interface TopicLimits {
  maxBacklogBytes: number;
  maxTopicBytes: number;
  maxTopics: number;
  maxGroups: number;
  groupIdleMs: number;
  groupBacklogIdleMs: number;
  log: Pick<Logger, "warn">;
}

/** Counts for each event besides its value, for `maxBacklogBytes` and `maxTopicBytes`. */
const EVENT_OVERHEAD_BYTES = 64;

/** The topics of the memory engine. Each group keeps its waiting events in its own order. */
export class MemoryTopics implements TopicStore {
  readonly #topics = new Map<string, Map<string, Group>>();
  readonly #limits: TopicLimits;
  /** The bytes of all groups. An event counts once for each group that it waits for. */
  #bytes = 0;
  #closed = false;

  constructor(limits: TopicLimits) {
    this.#limits = limits;
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
    const kept = values.map(compactBytes);
    for (const group of groups.values()) group.add(kept);
  }

  async createGroup(topic: string, name: string): Promise<void> {
    this.consume(topic, name, AbortSignal.abort());
  }

  consume(topic: string, name: string, signal: AbortSignal): AsyncIterable<Delivery> {
    this.#checkOpen();
    const group = this.#topics.get(topic)?.get(name) ?? this.#begin(topic, name);
    return group.join(signal);
  }

  async hasWaiting(topic: string, name: string): Promise<boolean> {
    this.#checkOpen();
    return (this.#topics.get(topic)?.get(name)?.bytes ?? 0) > 0;
  }

  close(): void {
    this.#closed = true;
    for (const groups of this.#topics.values()) for (const group of groups.values()) group.close();
    this.#topics.clear();
  }

  #begin(topic: string, name: string): Group {
    const { maxTopics, maxGroups, groupIdleMs, groupBacklogIdleMs } = this.#limits;
    const groups = this.#topics.get(topic) ?? new Map<string, Group>();
    if (groups.size >= maxGroups) {
      throw fullError("maxGroups", maxGroups, `the topic has no room for consumer group "${name}"`);
    }
    if (groups.size === 0 && this.#topics.size >= maxTopics) {
      throw fullError("maxTopics", maxTopics, "all topics of the memory engine with consumer groups");
    }
    const onBytes = (change: number) => {
      this.#bytes += change;
    };
    const keptMs = { idleMs: groupIdleMs, backlogIdleMs: groupBacklogIdleMs };
    const group = new Group(keptMs, onBytes, () => this.#forget(topic, name));
    groups.set(name, group);
    this.#topics.set(topic, groups);
    return group;
  }

  #forget(topic: string, name: string): void {
    const groups = this.#topics.get(topic);
    const group = groups?.get(name);
    logDroppedEvents(this.#limits.log, topic, name, group?.events ?? 0);
    group?.close();
    groups?.delete(name);
    if (groups?.size === 0) this.#topics.delete(topic);
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError("memory");
  }
}

type Item = { order: number; value: Uint8Array; attempts: number };

class Group {
  #bytes = 0;
  readonly #ready = new Heap<Item>((a, b) => a.order - b.order);
  readonly #consumers = new Set<Consumer<Item>>();
  /** The consumers that wait for an event, longest first. Empty while any event is ready. */
  readonly #waiting = new Set<Consumer<Item>>();
  readonly #delays = new Set<() => void>();
  readonly #onBytes: (change: number) => void;
  #order = 0;
  readonly #idle: IdleTimer;
  #closed = false;

  /** Calls `onBytes` with each change of `bytes`, and `onIdle` when the group was without consumers for too long. */
  constructor(keptMs: IdleTimeouts, onBytes: (change: number) => void, onIdle: () => void) {
    this.#onBytes = onBytes;
    this.#idle = new IdleTimer(keptMs, () => this.#bytes === 0, onIdle);
  }

  /** The bytes of all unacknowledged events: ready, delayed and claimed. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The number of ready and delayed events. */
  get events(): number {
    return this.#ready.size + this.#delays.size;
  }

  add(values: readonly Uint8Array[]): void {
    for (const value of values) {
      this.#weigh(weight(value));
      this.#ready.push({ order: ++this.#order, value, attempts: 0 });
    }
    this.#assignReady();
  }

  join(signal: AbortSignal): AsyncIterable<Delivery> {
    const consumer = new Consumer<Item>(() => {
      signal.removeEventListener("abort", consumer.leave);
      this.#onLeave(consumer);
    });
    this.#idle.stop();
    this.#consumers.add(consumer);
    if (signal.aborted) consumer.leave();
    else signal.addEventListener("abort", consumer.leave, { once: true });
    return this.#deliver(consumer);
  }

  /** Ends the group's consumers and drops its events. */
  close(): void {
    this.#closed = true;
    this.#idle.stop();
    for (const stop of this.#delays) stop();
    for (const consumer of [...this.#consumers]) consumer.leave();
    this.#ready.clear();
    this.#weigh(-this.#bytes);
  }

  async *#deliver(consumer: Consumer<Item>): AsyncGenerator<Delivery, void, undefined> {
    try {
      while (!consumer.hasLeft) {
        let item = this.#ready.pop();
        if (item) {
          consumer.claimed.add(item);
        } else {
          this.#waiting.add(consumer);
          item = await consumer.nextAssigned();
        }
        // If the consumer left before it took the event, the event is back in the group already.
        if (!item || consumer.hasLeft) return;
        item.attempts++;
        yield this.#delivery(consumer, item);
      }
    } finally {
      consumer.leave();
    }
  }

  #delivery({ claimed }: Consumer<Item>, item: Item): Delivery {
    const done = async () => {
      if (claimed.delete(item)) this.#weigh(-weight(item.value));
    };
    const retry = async (delayMs: number) => {
      if (!claimed.delete(item)) return;
      if (delayMs <= 0) return this.#requeue([item]);
      const stop = runAfter(delayMs, () => {
        this.#delays.delete(stop);
        this.#requeue([item]);
      });
      this.#delays.add(stop);
    };
    return { value: item.value, attempt: item.attempts, ack: done, drop: done, retry };
  }

  #weigh(change: number): void {
    this.#bytes += change;
    this.#onBytes(change);
  }

  #onLeave(consumer: Consumer<Item>): void {
    this.#consumers.delete(consumer);
    this.#waiting.delete(consumer);
    if (this.#closed) return;
    this.#requeue(consumer.claimed);
    if (this.#consumers.size === 0) this.#idle.start();
  }

  #requeue(items: Iterable<Item>): void {
    for (const item of items) this.#ready.push(item);
    this.#assignReady();
  }

  /** Assigns each event to a waiting consumer. If a consumer were only woken, another could take the event first. */
  #assignReady(): void {
    for (const consumer of this.#waiting) {
      const item = this.#ready.pop();
      if (!item) return;
      this.#waiting.delete(consumer);
      consumer.assign(item);
    }
  }
}

const weight = (value: Uint8Array): number => value.length + EVENT_OVERHEAD_BYTES;
