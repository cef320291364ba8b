import { runAfter } from "../../../lib/timer.js";
import type { Delivery } from "../../engine.js";
import type { Clock } from "../shared/clock.js";
import { Consumer } from "../shared/consumer.js";
import { Heap } from "../shared/heap.js";
import { type IdleTimeouts, IdleTimer } from "../shared/idle-timer.js";
import type { WriteOp } from "./store.js";
import type { GroupState, Item, TopicEntries } from "./topic-store.js";

/** What one event weighs beside its value, for `maxBacklogBytes` and `maxTopicBytes`. */
const EVENT_OVERHEAD_BYTES = 64;

/** How many events that wait are in memory, and how many bytes of them. The others are read when their turn comes. */
const WINDOW = 512;
const WINDOW_BYTES = 1024 ** 2;

/** How soon it is written down that an event was delivered which is not answered meanwhile. */
const COUNT_AFTER_MS = 50;

export const weight = (value: Uint8Array): number => value.length + EVENT_OVERHEAD_BYTES;

interface GroupOptions extends IdleTimeouts {
  topic: string;
  name: string;
  state: GroupState;
  entries: TopicEntries;
  clock: Clock;
  /** Resolves when the group itself is durable. */
  begun: Promise<void>;
  /** Is told by how much `bytes` changes. */
  onBytes: (change: number) => void;
  /** Is told that it has been idle for as long as it is kept. */
  onIdle: () => void;
}

/** A group of consumers: what waits is in the tree, and here what its consumers are about. */
export class ConsumerGroup {
  readonly state: GroupState;
  readonly #options: GroupOptions;
  readonly #ready = new Heap<Item>((a, b) => a.order - b.order);
  #readyBytes = 0;
  readonly #consumers = new Set<Consumer<Item>>();
  /** The consumers whose loop waits for an event, the one that has waited longest first. None, while any is ready. */
  readonly #waiting = new Set<Consumer<Item>>();
  readonly #delays = new Set<() => void>();
  /** Where the events begin that are in the tree only; "": at the first one. */
  #unread: string | undefined;
  /** The order of the last event that is in memory, or was. */
  #lastRead = 0;
  #reading = false;
  /** Whether an event came that the page which is being read may not have. */
  #missed = false;
  /** Why the tree could not be read. */
  #fault: unknown;
  readonly #idle: IdleTimer;
  #stopCount: (() => void) | undefined;
  #closed = false;
  #isKept = true;

  /** `isNew`: nothing waits for it yet. */
  constructor(options: GroupOptions, isNew: boolean) {
    this.#options = options;
    this.state = options.state;
    this.#unread = isNew ? undefined : "";
    this.#idle = new IdleTimer(options, () => this.state.bytes === 0, options.onIdle);
    options.onBytes(this.state.bytes);
    if (!isNew) this.#expectIdle();
  }

  /** Of everything not yet acknowledged: ready, delayed and claimed. */
  get bytes(): number {
    return this.state.bytes;
  }

  /** What the tree is to be told of these events; `applied` once it has them, `failed` where it has refused. */
  publishing(values: readonly Uint8Array[]): { ops: WriteOp[]; applied: () => void; failed: () => void } {
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
        for (const item of items) this.#add(item);
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
      this.#saveSoon([this.#stateOp()]);
    }
    this.#consumers.add(consumer);
    if (signal.aborted) consumer.leave();
    else signal.addEventListener("abort", consumer.leave, { once: true });
    return this.#deliver(consumer);
  }

  /** Ends its consumers. What waits stays in the tree, and `isKept` what is known of the group. */
  close(isKept: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#isKept = isKept;
    this.#idle.stop();
    this.#stopCount?.();
    for (const stop of this.#delays) stop();
    const claimed = [...this.#consumers].flatMap((consumer) => [...consumer.claimed]);
    for (const consumer of [...this.#consumers]) consumer.leave();
    if (claimed.length > 0) this.#saveSoon(claimed.map((item) => this.#count(item)));
    this.#options.onBytes(-this.state.bytes);
    this.#ready.clear();
  }

  async *#deliver(consumer: Consumer<Item>): AsyncGenerator<Delivery, void, undefined> {
    try {
      await this.#options.begun;
      while (!consumer.hasLeft) {
        let item = this.#take();
        if (item) {
          consumer.claimed.add(item);
        } else {
          this.#waiting.add(consumer);
          item = await consumer.nextAssigned();
        }
        if (this.#fault) throw this.#fault;
        // Where it left before it could take what was handed to it, that has gone back already.
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
        await entries.write([this.#count(item)], () => this.#putOff(item, delayMs));
      } catch (error) {
        this.#requeue([item]);
        throw error;
      }
    };
    return { value, attempt: item.attempts, ack: done, drop: done, retry };
  }

  /** Takes the next event that is ready. Where none is in memory, what the tree has of them is handed out once it is read. */
  #take(): Item | undefined {
    if (this.#ready.size === 0 && this.#unread !== undefined && !this.#reading) void this.#readOn();
    const item = this.#ready.pop();
    if (item?.value) this.#readyBytes -= item.value.length;
    return item;
  }

  async #readOn(): Promise<void> {
    const { entries, clock } = this.#options;
    this.#reading = true;
    this.#fault = undefined;
    try {
      while (this.#unread !== undefined && this.#ready.size === 0) {
        this.#missed = false;
        const { items, after: rest } = await entries.events(this.state.id, this.#unread || undefined, WINDOW);
        if (this.#closed) return;
        this.#unread = rest;
        for (const item of items) {
          this.#lastRead = item.order;
          const delayMs = item.dueMs - clock.now();
          if (delayMs > 0) this.#putOff(item, delayMs);
          else this.#push(item);
        }
        if (this.#missed) this.#unread ??= entries.place(this.state.id, this.#lastRead);
      }
    } catch (error) {
      this.#fault = error;
      for (const consumer of this.#waiting) consumer.leave();
    } finally {
      this.#reading = false;
    }
    this.#assignReady();
  }

  /** An event that is the last of all. */
  #add(item: Item): void {
    this.#missed = true;
    if (this.#closed || this.#unread !== undefined) return;
    if (this.#ready.size < WINDOW) {
      this.#lastRead = item.order;
      this.#push(item);
    } else {
      this.#unread = this.#options.entries.place(this.state.id, this.#lastRead);
    }
  }

  #push(item: Item): void {
    if (item.value && this.#readyBytes + item.value.length > WINDOW_BYTES) item.value = undefined;
    this.#readyBytes += item.value?.length ?? 0;
    this.#ready.push(item);
  }

  #putOff(item: Item, delayMs: number): void {
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
      this.#saveSoon([this.#stateOp()]);
    }
    if (this.#closed) return;
    if (consumer.claimed.size > 0) this.#saveSoon([...consumer.claimed].map((item) => this.#count(item)));
    this.#requeue(consumer.claimed);
    if (this.#consumers.size === 0) this.#expectIdle();
  }

  /** Time during which the engine was closed does not count: no consumer could have come. */
  #expectIdle(): void {
    const openMs = this.#options.clock.openFor();
    this.state.idleFromMs ??= openMs;
    this.#idle.start(openMs - this.state.idleFromMs);
  }

  #requeue(items: Iterable<Item>): void {
    if (this.#closed) return;
    for (const item of items) this.#push(item);
    this.#assignReady();
  }

  /** Each event goes straight to one who waits: were he only woken, others could take it first, or he could be gone. */
  #assignReady(): void {
    for (const consumer of this.#waiting) {
      const item = this.#take();
      if (!item) return;
      this.#waiting.delete(consumer);
      consumer.assign(item);
    }
  }

  /** A delivery that a crash leaves unanswered counts, unless it is answered at once: then it needs not to be known. */
  #countSoon(): void {
    this.#stopCount ??= runAfter(COUNT_AFTER_MS, () => {
      this.#stopCount = undefined;
      const claimed = [...this.#consumers].flatMap((consumer) => [...consumer.claimed]);
      const uncounted = claimed.filter((item) => item.counted < item.attempts);
      if (uncounted.length > 0) this.#saveSoon(uncounted.map((item) => this.#count(item)));
    });
  }

  #count(item: Item): WriteOp {
    item.counted = item.attempts;
    return this.#options.entries.attempts(this.state.id, item);
  }

  #stateOp(): WriteOp {
    return this.#options.entries.group(this.#options.topic, this.#options.name, this.state);
  }

  /** Nobody waits for it: where the disk refuses, only a count or a time is older than it could be. */
  #saveSoon(ops: WriteOp[]): void {
    if (!this.#isKept) return;
    this.#options.entries.write(ops).catch(() => {});
  }

  #weigh(change: number): void {
    this.state.bytes += change;
    this.#options.onBytes(change);
  }
}
