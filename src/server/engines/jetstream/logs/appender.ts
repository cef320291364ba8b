import { type Backoff, jitteredMs } from "../../../../lib/backoff.js";
import { delay } from "../../../../lib/timer.js";
import { EngineFault } from "../../../engine.js";
import type { Capacity } from "../capacity.js";
import { ConditionError } from "../errors.js";
import type { StreamMessage } from "../message.js";
import type { JetStreamSession } from "../session.js";
import type { StreamReader } from "../stream-reader.js";
import { encodeMarker, encodeRecords, type LogState, payloadBytes, stateAfter, stateOf } from "./message.js";

/** The payload of a message: large, and yet a message is read quickly when only its header is needed. */
const PAYLOAD_BYTES = 512 * 1024;

/** The most bytes of a message's subject and headers. */
const MAX_OVERHEAD_BYTES = 8 * 1024;

/** The most messages of an atomic batch, by the default limits of nats-server. */
const MAX_BATCH = 1000;

/** The delay after another server has appended first. */
const CONFLICT: Backoff = { minMs: 2, maxMs: 100 };

/** An append or a change of the state that waits. `first` is set when the values have offsets. */
type Item = Append | Change;
type Append = Settle & { type: "append"; values: readonly Uint8Array[]; first: number };
type Change = Settle & { type: "change"; change: StateChange };
type Settle = { resolve: () => void; reject: (error: unknown) => void };

/** The state that replaces `state`, which has no new record; undefined to leave it. */
type StateChange = (state: LogState) => Promise<LogState | undefined>;

export interface AppenderOptions {
  session: JetStreamSession;
  reader: StreamReader;
  subject: string;
  /** Called with the state after each message that this server has stored. */
  onStored: (state: LogState) => void;
  capacity: Capacity;
  /** Frees space that retention has given up. Returns whether there was some. */
  free: () => Promise<boolean>;
}

/**
 * Appends to one log. What concurrent callers append goes together, one write at a time; servers that append to the
 * same log exclude each other by the sequence of the log's last message.
 */
export class LogAppender {
  readonly #options: AppenderOptions;
  #waiting: Item[] = [];
  #running: Promise<void> | undefined;
  /** The state after the last write of this server. Another server may have written since. */
  #state: LogState | undefined;

  constructor(options: AppenderOptions) {
    this.#options = options;
  }

  /** Whether nothing is being written. */
  get isIdle(): boolean {
    return this.#running === undefined;
  }

  /** Appends the values next to each other. Resolves with the first offset. */
  async append(values: readonly Uint8Array[]): Promise<number> {
    return await new Promise((resolve, reject) => {
      const item: Append = { type: "append", values, first: 0, reject, resolve: () => resolve(item.first) };
      this.#add(item);
    });
  }

  /** Changes the state by a message without records. `change` gets the current state, and may be called repeatedly. */
  async change(change: StateChange): Promise<void> {
    await new Promise<void>((resolve, reject) => this.#add({ type: "change", change, resolve, reject }));
  }

  /** Resolves when everything that was added is stored or has failed. */
  async settled(): Promise<void> {
    while (this.#running) await this.#running;
  }

  #add(item: Item): void {
    this.#waiting.push(item);
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // Callers of the same turn of the event loop are together in the first group.
    await Promise.resolve();
    for (let group = this.#take(); group.length > 0; group = this.#take()) {
      try {
        await this.#store(group);
        for (const { resolve } of group) resolve();
      } catch (error) {
        for (const { reject } of group) reject(error);
      }
    }
    this.#running = undefined;
  }

  /** The next items to store together: no more than one message has, as a batch of messages takes far longer. */
  #take(): Item[] {
    if (this.#waiting[0]?.type === "change") return this.#waiting.splice(0, 1);
    const mostBytes = this.#mostBytes();
    let bytes = 0;
    let count = 0;
    for (const item of this.#waiting) {
      if (item.type === "change") break;
      bytes += payloadBytes(item.values);
      if (count > 0 && bytes > mostBytes) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  async #store(group: readonly Item[]): Promise<void> {
    const { session, onStored, free } = this.#options;
    const deadlineMs = performance.now() + session.waitMs;
    let hasFreed = false;
    for (let failures = 1; ; failures++) {
      try {
        const state = await this.#storeOnce(group);
        if (state) onStored(state);
        return;
      } catch (error) {
        // After any error the state is read again: a write without a response may have been stored.
        this.#state = undefined;
        if (error instanceof EngineFault && error.reason === "full" && !hasFreed) {
          hasFreed = true;
          if (await free()) continue;
        }
        if (!(error instanceof ConditionError)) throw error;
        if (performance.now() > deadlineMs) {
          throw new EngineFault(
            "unavailable",
            `other servers have appended to the same log for ${session.waitMs} ms: ${error.message}`,
          );
        }
        await delay(jitteredMs(CONFLICT, failures), session.closing);
      }
    }
  }

  /** Stores the items if no other server has written since the known state. Returns the new one. */
  async #storeOnce(group: readonly Item[]): Promise<LogState | undefined> {
    const [item] = group;
    const { subject } = this.#options;
    if (item?.type === "change") {
      const state = await this.#currentState();
      const changed = await item.change(state);
      if (!changed) return undefined;
      return await this.#publish([encodeMarker(subject, changed)], changed, (sequence) => ({
        ...changed,
        sequence,
      }));
    }
    const state = this.#state ?? (await this.#readState());
    const timeMs = Math.max(state.timeMs, this.#options.session.clock.wall());
    const values: Uint8Array[] = [];
    for (const one of group) {
      if (one.type !== "append") continue;
      one.first = state.next + values.length;
      for (const value of one.values) values.push(value);
    }
    const { messages, last } = encodeRecords(subject, values, { ...state, timeMs }, this.#mostBytes());
    return await this.#publish(messages, state, (sequence) => stateAfter(last, sequence));
  }

  async #publish(
    messages: readonly StreamMessage[],
    { sequence: expected }: Pick<LogState, "sequence">,
    stateAt: (sequence: number) => LogState,
  ): Promise<LogState> {
    const { session, reader, capacity } = this.#options;
    const [first, ...rest] = messages as [StreamMessage, ...StreamMessage[]];
    const condition = ["Nats-Expected-Last-Subject-Sequence", String(expected)] as const;
    const conditional = { ...first, headers: [...first.headers, condition] };
    if (messages.length > MAX_BATCH) {
      const bytes = messages.reduce((sum, { data }) => sum + data.length, 0);
      throw new EngineFault(
        "full",
        `an append of ${bytes} bytes needs ${messages.length} messages, more than a batch of JetStream has`,
        { name: "messages of a batch", most: MAX_BATCH },
      );
    }
    const all = [conditional, ...rest];
    const publish = async () =>
      rest.length === 0
        ? await session.publish(conditional)
        : await session.publishBatch(all, { fence: `${reader.prefix}fence` });
    // A message without records takes next to nothing, and often makes room.
    const hasRecords = first.data.length > 0;
    const { sequence } = hasRecords ? await capacity.admit(all, publish) : await publish();
    this.#state = stateAt(sequence);
    return this.#state;
  }

  /** The state of some replica: the condition of the write finds out whether it is the current one. */
  async #readState(): Promise<LogState> {
    const { reader, subject } = this.#options;
    return stateOf((await reader.lastOf([subject], 0)).get(subject));
  }

  async #currentState(): Promise<LogState> {
    const { reader, subject } = this.#options;
    return stateOf((await reader.latest([subject])).get(subject));
  }

  #mostBytes(): number {
    const most = this.#options.session.nc.info?.max_payload ?? PAYLOAD_BYTES;
    return Math.min(PAYLOAD_BYTES, most - MAX_OVERHEAD_BYTES);
  }
}
