import { runAfter } from "../../../lib/timer.js";
import type { Delivery } from "../../engine.js";
import type { Clock } from "../shared/clock.js";
import { Consumer } from "../shared/consumer.js";
import { type IdleTimeouts, IdleTimer } from "../shared/idle-timer.js";
import { EventWindow } from "./event-window.js";
import type { WriteOp } from "./store.js";
import type { GroupState, Item, TopicEntries } from "./topic-entries.js";

/** Counts for each event besides its value, for `maxBacklogBytes` and `maxTopicBytes`. */
const EVENT_OVERHEAD_BYTES = 64;

/** How long after a delivery its attempt is stored, if the event is not settled by then. */
const COUNT_AFTER_MS = 50;

export const weight = (value: Uint8Array): number => value.length + EVENT_OVERHEAD_BYTES;

interface GroupOptions extends IdleTimeouts {
  topic: string;
  name: string;
  state: GroupState;
  entries: TopicEntries;
  clock: Clock;
  /** Resolves when the group itself is durable. */
  created: Promise<void>;
  /** Called with each change of `bytes`. */
  onBytes: (change: number) => void;
  /** Called when the group has been without consumers for longer than it is kept. */
  onIdle: () => void;
}

/** A group of consumers. Its events are in the tree; this has those that are ready, delayed or claimed. */
export class ConsumerGroup {
  readonly state: GroupState;
  readonly #options: GroupOptions;
  readonly #consumers = new Set<Consumer<Item>>();
  /** The consumers that wait for an event, longest first. Empty while any event is ready. */
  readonly #waiting = new Set<Consumer<Item>>();
  readonly #delays = new Set<() => void>();
  readonly #window: EventWindow;
  readonly #idle: IdleTimer;
  #stopCount: (() => void) | undefined;
  #closed = false;
  #isStored = true;

  /** `isNew`: the group has no events yet. */
  constructor(options: GroupOptions, isNew: boolean) {
    this.#options = options;
    this.state = options.state;
    const { entries, clock } = options;
    const onFault = () => {
      for (const consumer of this.#waiting) consumer.leave();
    };
    const callbacks = {
      onFault,
      onRead: () => this.#assignReady(),
      onDelayed: (item: Item, delayMs: number) => this.#delay(item, delayMs),
    };
    this.#window = new EventWindow({ group: options.state.id, entries, clock, ...callbacks }, isNew);
    this.#idle = new IdleTimer(options, () => this.state.bytes === 0, options.onIdle);
    options.onBytes(this.state.bytes);
    if (!isNew) this.#startIdle();
  }

  /** The bytes of all unacknowledged events: ready, delayed and claimed. */
  get bytes(): number {
    return this.state.bytes;
  }

  /** Resolves when the group is durable. */
  get created(): Promise<void> {
    return this.#options.created;
  }

  /** The writes that publish these events. Call `applied` when they are durable, `failed` if they were refused. */
  preparePublish(values: readonly Uint8Array[]): { ops: WriteOp[]; applied: () => void; failed: () => void } {
    const { entries } = this.#options;
    const bytes = values.reduce((sum, value) => sum + weight(value), 0);
    this.#weigh(bytes);
    const items = values.map((value): Item => {
      const order = entries.nextNumber();
      return { order, attempts: 0, dueMs: 0, bytes: value.length, value, counted: 0 };
    });
    const ops = items.map(({ order }, i) => entries.event(this.state.id, order, values[i] as Uint8Array));
    return {
      ops: [...ops, this.#stateOp()],
      applied: () => {
        for (const item of items) this.#window.append(item);
        this.#assignReady();
      },
      failed: () => this.#weigh(-bytes),
    };
  }

  join(signal: AbortSignal): AsyncIterable<Delivery> {
    const consumer = new Consumer<Item>(() => {
      signal.removeEventListener("abort", consumer.leave);
      this.#onLeave(consumer);
    });
    this.#idle.stop();
    if (this.state.idleFromMs !== undefined) {
      this.state.idleFromMs = undefined;
      this.#writeInBackground([this.#stateOp()]);
    }
    this.#consumers.add(consumer);
    if (signal.aborted) consumer.leave();
    else signal.addEventListener("abort", consumer.leave, { once: true });
    return this.#deliver(consumer);
  }

  /** Ends the group's consumers. Its events stay in the tree. Without `isStored`, the group's state is not written. */
  close(isStored: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#isStored = isStored;
    this.#idle.stop();
    this.#stopCount?.();
    for (const stop of this.#delays) stop();
    const claimed = [...this.#consumers].flatMap((consumer) => [...consumer.claimed]);
    for (const consumer of [...this.#consumers]) consumer.leave();
    if (claimed.length > 0) this.#writeInBackground(claimed.map((item) => this.#count(item)));
    this.#options.onBytes(-this.state.bytes);
    this.#window.close();
  }

  async *#deliver(consumer: Consumer<Item>): AsyncGenerator<Delivery, void, undefined> {
    try {
      await this.#options.created;
      while (!consumer.hasLeft) {
        let item = this.#window.take();
        if (item) {
          consumer.claimed.add(item);
        } else {
          this.#waiting.add(consumer);
          item = await consumer.nextAssigned();
        }
        if (this.#window.fault) throw this.#window.fault;
        // If the consumer left before it took the event, the event is back in the group already.
        if (!item || consumer.hasLeft) return;
        const value = item.value ?? this.#options.entries.value(this.state.id, item.order);
        if (!value) {
          consumer.claimed.delete(item);
          continue;
        }
        item.value = undefined;
        item.attempts++;
        this.#countSoon();
        yield this.#delivery(consumer, item, value);
      }
    } finally {
      consumer.leave();
    }
  }

  #delivery({ claimed }: Consumer<Item>, item: Item, value: Uint8Array): Delivery {
    const { entries } = this.#options;
    const { id } = this.state;
    const done = async () => {
      if (!claimed.delete(item)) return;
      const bytes = item.bytes + EVENT_OVERHEAD_BYTES;
      this.#weigh(-bytes);
      await entries.write([...entries.done(id, item), this.#stateOp()]).catch((error: unknown) => {
        this.#weigh(bytes);
        this.#requeue([item]);
        throw error;
      });
    };
    const retry = async (delayMs: number) => {
      if (!claimed.delete(item)) return;
      item.dueMs = this.#options.clock.now() + Math.max(0, delayMs);
      try {
        await entries.write([this.#count(item)], () => this.#delay(item, delayMs));
      } catch (error) {
        this.#requeue([item]);
        throw error;
      }
    };
    return { value, attempt: item.attempts, ack: done, drop: done, retry };
  }

  #delay(item: Item, delayMs: number): void {
    if (this.#closed) return;
    if (delayMs <= 0) {
      this.#requeue([item]);
      return;
    }
    item.value = undefined;
    const stop = runAfter(delayMs, () => {
      this.#delays.delete(stop);
      this.#requeue([item]);
    });
    this.#delays.add(stop);
  }

  #onLeave(consumer: Consumer<Item>): void {
    this.#consumers.delete(consumer);
    this.#waiting.delete(consumer);
    if (this.#consumers.size === 0) {
      this.state.idleFromMs = this.#options.clock.openFor();
      this.#writeInBackground([this.#stateOp()]);
    }
    if (this.#closed) return;
    if (consumer.claimed.size > 0)
      this.#writeInBackground([...consumer.claimed].map((item) => this.#count(item)));
    this.#requeue(consumer.claimed);
    if (this.#consumers.size === 0) this.#startIdle();
  }

  /** Starts the idle timer. Time during which the engine was closed does not count, as no consumer could join. */
  #startIdle(): void {
    const openMs = this.#options.clock.openFor();
    this.state.idleFromMs ??= openMs;
    this.#idle.start(openMs - this.state.idleFromMs);
  }

  #requeue(items: Iterable<Item>): void {
    if (this.#closed) return;
    for (const item of items) this.#window.push(item);
    this.#assignReady();
  }

  /** Assigns each event to a waiting consumer. If a consumer were only woken, another could take the event first. */
  #assignReady(): void {
    for (const consumer of this.#waiting) {
      const item = this.#window.take();
      if (!item) return;
      this.#waiting.delete(consumer);
      consumer.assign(item);
    }
  }

  /** Stores the attempts of claimed events, so that they count after a crash. Most events are settled before that. */
  #countSoon(): void {
    this.#stopCount ??= runAfter(COUNT_AFTER_MS, () => {
      this.#stopCount = undefined;
      const claimed = [...this.#consumers].flatMap((consumer) => [...consumer.claimed]);
      const uncounted = claimed.filter((item) => item.counted < item.attempts);
      if (uncounted.length > 0) this.#writeInBackground(uncounted.map((item) => this.#count(item)));
    });
  }

  #count(item: Item): WriteOp {
    item.counted = item.attempts;
    return this.#options.entries.attempts(this.state.id, item);
  }

  #stateOp(): WriteOp {
    return this.#options.entries.group(this.#options.topic, this.#options.name, this.state);
  }

  /** Writes without waiting. If the write fails, only an attempt count or a time is out of date. */
  #writeInBackground(ops: WriteOp[]): void {
    if (!this.#isStored) return;
    this.#options.entries.write(ops).catch(() => {});
  }

  #weigh(change: number): void {
    this.state.bytes += change;
    this.#options.onBytes(change);
  }
}
