import { EngineFault, type LogRecord, type LogStore, type Retention } from "../../engine.js";

/** The most records that one step of a read hands over. */
const BATCH_RECORDS = 512;

/** What one record weighs beside its value, for `maxBytes`. */
const RECORD_OVERHEAD_BYTES = 32;

/** The logs of the memory engine: an array each, trimmed from the front by retention. */
export class MemoryLogs implements LogStore {
  readonly #logs = new Map<string, Log>();
  readonly #now: () => number;
  #closed = false;

  constructor(now: () => number) {
    this.#now = now;
  }

  async append(name: string, values: readonly Uint8Array[]): Promise<{ first: bigint; last: bigint }> {
    this.#open();
    const log = this.#log(name);
    const first = log.next;
    log.append(values, this.#now());
    return { first, last: log.next - 1n };
  }

  async *read(name: string, from: bigint, { follow, signal }: { follow: boolean; signal: AbortSignal }) {
    this.#open();
    // A follower of a log that is not there yet waits for it; any other reader of it is at its end.
    const log = follow ? this.#log(name) : this.#logs.get(name);
    let next = from;
    while (log && !signal.aborted && !this.#closed) {
      log.trim(this.#now());
      if (next < log.first) next = log.first;
      const batch = log.slice(next, BATCH_RECORDS);
      const last = batch.at(-1);
      if (last) {
        next = last.offset + 1n;
        yield batch;
      } else if (follow) {
        await log.grown(signal);
      } else {
        return;
      }
    }
  }

  async bounds(name: string): Promise<{ first: bigint; next: bigint }> {
    this.#open();
    const log = this.#logs.get(name);
    if (!log) return { first: 1n, next: 1n };
    log.trim(this.#now());
    return { first: log.first, next: log.next };
  }

  async seek(name: string, timestampMs: number): Promise<bigint> {
    this.#open();
    const log = this.#logs.get(name);
    if (!log) return 1n;
    log.trim(this.#now());
    return log.seek(timestampMs);
  }

  async retain(name: string, retention: Retention): Promise<void> {
    this.#open();
    const log = this.#log(name);
    log.retention = retention;
    log.trim(this.#now());
  }

  close(): void {
    this.#closed = true;
    for (const log of this.#logs.values()) log.wake();
  }

  #open(): void {
    if (this.#closed) throw new EngineFault("away", "the memory engine is closed");
  }

  #log(name: string): Log {
    let log = this.#logs.get(name);
    if (!log) this.#logs.set(name, (log = new Log()));
    return log;
  }
}

class Log {
  retention: Retention = {};
  /** The offset of the oldest retained record, or of the next one where none is retained. */
  first = 1n;
  #records: (LogRecord | undefined)[] = [];
  /** Where `first` is in #records: what lies before it is undefined already, and is cut off in large pieces only. */
  #head = 0;
  #bytes = 0;
  #lastMs = 0;
  #waiting = new Set<() => void>();

  get next(): bigint {
    return this.first + BigInt(this.#records.length - this.#head);
  }

  append(values: readonly Uint8Array[], nowMs: number): void {
    // A wall clock that was set back does not take the log's time back.
    this.#lastMs = Math.max(this.#lastMs, nowMs);
    let offset = this.next;
    for (const value of values) {
      this.#records.push({ offset: offset++, timestampMs: this.#lastMs, value });
      this.#bytes += value.length + RECORD_OVERHEAD_BYTES;
    }
    this.trim(nowMs);
    this.wake();
  }

  slice(from: bigint, most: number): LogRecord[] {
    const start = this.#head + Number(from - this.first);
    return this.#records.slice(start, start + most) as LogRecord[];
  }

  seek(timestampMs: number): bigint {
    let low = this.#head;
    let high = this.#records.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#records[middle] as LogRecord).timestampMs < timestampMs) low = middle + 1;
      else high = middle;
    }
    return this.first + BigInt(low - this.#head);
  }

  trim(nowMs: number): void {
    const { maxAgeMs, maxBytes, maxRecords } = this.retention;
    for (let oldest = this.#records[this.#head]; oldest; oldest = this.#records[this.#head]) {
      const tooOld = maxAgeMs !== undefined && oldest.timestampMs <= nowMs - maxAgeMs;
      const tooLarge = maxBytes !== undefined && this.#bytes > maxBytes;
      const tooMany = maxRecords !== undefined && this.#records.length - this.#head > maxRecords;
      if (!tooOld && !tooLarge && !tooMany) break;
      this.#bytes -= oldest.value.length + RECORD_OVERHEAD_BYTES;
      this.first = oldest.offset + 1n;
      this.#records[this.#head++] = undefined;
    }
    if (this.#head > 1024 && this.#head * 2 > this.#records.length) {
      this.#records = this.#records.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Resolves at the next append, or once `signal` aborts. */
  grown(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      if (signal.aborted) return resolve();
      this.#waiting.add(done);
      signal.addEventListener("abort", done, { once: true });
    });
  }

  wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}
