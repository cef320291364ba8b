import { after } from "../../../internal/timer.js";
import { type Delivery, EngineFault, type TopicStore } from "../../engine.js";
import { createSortedMap } from "./sorted-map.js";

interface TopicLimits {
  maxBacklogBytes: number;
  groupIdleMs: number;
}

/** What one event weighs beside its value, for `maxBacklogBytes`. */
const EVENT_OVERHEAD_BYTES = 64;

/** The topics of the memory engine: each group keeps its own order of what waits. */
export class MemoryTopics implements TopicStore {
  readonly #topics = new Map<string, Map<string, Group>>();
  readonly #limits: TopicLimits;
  #closed = false;

  constructor(limits: TopicLimits) {
    this.#limits = limits;
  }

  async publish(topic: string, values: readonly Uint8Array[]): Promise<void> {
    this.#open();
    const groups = this.#topics.get(topic) ?? new Map<string, Group>();
    const bytes = values.reduce((sum, value) => sum + value.length + EVENT_OVERHEAD_BYTES, 0);
    for (const [name, group] of groups) {
      if (group.bytes + bytes <= this.#limits.maxBacklogBytes) continue;
      throw new EngineFault("full", `${group.bytes} bytes wait for the consumer group "${name}"`, {
        name: "maxBacklogBytes",
        most: this.#limits.maxBacklogBytes,
      });
    }
    for (const group of groups.values()) for (const value of values) group.add(value);
  }

  consume(topic: string, name: string, signal: AbortSignal): AsyncIterable<Delivery> {
    this.#open();
    let groups = this.#topics.get(topic);
    if (!groups) this.#topics.set(topic, (groups = new Map()));
    let group = groups.get(name);
    if (!group) groups.set(name, (group = new Group()));
    const forget = () => {
      groups.delete(name);
      if (groups.size === 0) this.#topics.delete(topic);
    };
    return group.join(signal, () => after(this.#limits.groupIdleMs, forget));
  }

  close(): void {
    this.#closed = true;
    for (const groups of this.#topics.values()) for (const group of groups.values()) group.close();
    this.#topics.clear();
  }

  #open(): void {
    if (this.#closed) throw new EngineFault("away", "the memory engine is closed");
  }
}

type Item = { order: number; value: Uint8Array; attempts: number };

class Group {
  /** Everything not yet acknowledged: ready, delayed and claimed. */
  bytes = 0;
  readonly #ready = createSortedMap<number, Item>((a, b) => a - b);
  readonly #consumers = new Set<Consumer>();
  /** The consumers whose loop waits for an event, the one that has waited longest first. */
  readonly #waiting = new Set<Consumer>();
  readonly #delays = new Set<() => void>();
  #order = 0;
  #stopIdle: (() => void) | undefined;

  add(value: Uint8Array): void {
    this.bytes += value.length + EVENT_OVERHEAD_BYTES;
    this.#offer({ order: ++this.#order, value, attempts: 0 });
  }

  join(signal: AbortSignal, whenIdle: () => () => void): AsyncIterable<Delivery> {
    const consumer = new Consumer();
    const leave = () => {
      signal.removeEventListener("abort", leave);
      if (!this.#consumers.delete(consumer)) return;
      this.#waiting.delete(consumer);
      consumer.leave();
      for (const item of consumer.claimed) this.#offer(item);
      consumer.claimed.clear();
      if (this.#consumers.size === 0) this.#stopIdle = whenIdle();
    };
    this.#stopIdle?.();
    this.#consumers.add(consumer);
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
    return this.#deliver(consumer, leave);
  }

  close(): void {
    this.#stopIdle?.();
    for (const stop of this.#delays) stop();
    for (const consumer of this.#consumers) consumer.leave();
    this.#consumers.clear();
  }

  async *#deliver(consumer: Consumer, leave: () => void): AsyncGenerator<Delivery, void, undefined> {
    try {
      while (!consumer.left) {
        const item = this.#claim(consumer);
        if (item) {
          yield this.#delivery(consumer, item);
        } else {
          this.#waiting.add(consumer);
          await consumer.woken();
        }
      }
    } finally {
      leave();
    }
  }

  #claim(consumer: Consumer): Item | undefined {
    const order = this.#ready.minKey();
    const item = order === undefined ? undefined : this.#ready.get(order);
    if (!item) return undefined;
    this.#ready.delete(item.order);
    item.attempts++;
    consumer.claimed.add(item);
    return item;
  }

  #delivery({ claimed }: Consumer, item: Item): Delivery {
    const done = async () => {
      if (claimed.delete(item)) this.bytes -= item.value.length + EVENT_OVERHEAD_BYTES;
    };
    const retry = async (delayMs: number) => {
      if (!claimed.delete(item)) return;
      if (delayMs <= 0) return this.#offer(item);
      const stop = after(delayMs, () => {
        this.#delays.delete(stop);
        this.#offer(item);
      });
      this.#delays.add(stop);
    };
    return { value: item.value, attempt: item.attempts, ack: done, drop: done, retry };
  }

  #offer(item: Item): void {
    this.#ready.set(item.order, item);
    const [next] = this.#waiting;
    if (!next) return;
    this.#waiting.delete(next);
    next.wake();
  }
}

class Consumer {
  readonly claimed = new Set<Item>();
  left = false;
  #wake: (() => void) | undefined;

  wake(): void {
    this.#wake?.();
  }

  leave(): void {
    this.left = true;
    this.wake();
  }

  woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
