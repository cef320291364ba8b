import { Heap } from "../../../lib/heap.js";
import type { Clock } from "../shared/clock.js";
import type { Item, TopicEntries } from "./topic-entries.js";

/** The most waiting events in memory, and the most bytes of their values. The others are read when needed. */
const WINDOW = 512;
const WINDOW_BYTES = 1024 ** 2;

export interface WindowOptions {
  /** The id of the group. */
  group: number;
  entries: TopicEntries;
  clock: Clock;
  /** Called after events were read from the tree. */
  onRead: () => void;
  /** Called with a read event that is not yet due. */
  onDelayed: (item: Item, delayMs: number) => void;
  /** Called if the tree cannot be read. */
  onFault: () => void;
}

/** The events of a group that are ready for delivery: the first of them in memory, the others in the tree. */
export class EventWindow {
  readonly #options: WindowOptions;
  readonly #ready = new Heap<Item>((a, b) => a.order - b.order);
  #readyBytes = 0;
  /** The key after which events are in the tree only; "": all of them; undefined: none. */
  #unread: string | undefined;
  /** The order of the last event that was in memory. */
  #lastRead = 0;
  #reading = false;
  /** Whether an event was added that the page under way may not contain. */
  #missed = false;
  #fault: unknown;
  #closed = false;

  /** `isNew`: the group has no events in the tree. */
  constructor(options: WindowOptions, isNew: boolean) {
    this.#options = options;
    this.#unread = isNew ? undefined : "";
  }

  /** The error of the last read of the tree, if it failed. */
  get fault(): unknown {
    return this.#fault;
  }

  /** Takes the next ready event. If none is in memory, reads the tree in the background. */
  take(): Item | undefined {
    if (this.#ready.size === 0 && this.#unread !== undefined && !this.#reading) void this.#readOn();
    const item = this.#ready.pop();
    if (item?.value) this.#readyBytes -= item.value.length;
    return item;
  }

  /** Adds a published event, which is after all others. */
  append(item: Item): void {
    this.#missed = true;
    if (this.#closed || this.#unread !== undefined) return;
    if (this.#ready.size < WINDOW) {
      this.#lastRead = item.order;
      this.push(item);
    } else {
      this.#unread = this.#place();
    }
  }

  /** Adds an event that was in memory before. */
  push(item: Item): void {
    if (item.value && this.#readyBytes + item.value.length > WINDOW_BYTES) item.value = undefined;
    this.#readyBytes += item.value?.length ?? 0;
    this.#ready.push(item);
  }

  close(): void {
    this.#closed = true;
    this.#ready.clear();
  }

  async #readOn(): Promise<void> {
    const { group, entries, clock, onDelayed, onFault, onRead } = this.#options;
    this.#reading = true;
    this.#fault = undefined;
    try {
      while (this.#unread !== undefined && this.#ready.size === 0) {
        this.#missed = false;
        const { items, after } = await entries.events(group, this.#unread || undefined, WINDOW);
        if (this.#closed) return;
        this.#unread = after;
        for (const item of items) {
          this.#lastRead = item.order;
          const delayMs = item.dueMs - clock.now();
          if (delayMs > 0) onDelayed(item, delayMs);
          else this.push(item);
        }
        if (this.#missed) this.#unread ??= this.#place();
      }
    } catch (error) {
      this.#fault = error;
      onFault();
    } finally {
      this.#reading = false;
    }
    onRead();
  }

  #place(): string {
    return this.#options.entries.place(this.#options.group, this.#lastRead);
  }
}
