import { runAfter } from "../../../lib/timer.js";
import type { LogRecord, LogStore, Retention } from "../../engine.js";
import type { Clock } from "../shared/clock.js";
import { closedError, fullError } from "../shared/errors.js";
import { compactBytes } from "./compact-bytes.js";

interface LogLimits {
  maxLogBytes: number;
  clock: Clock;
}

/** The most records in one batch of a read. */
const BATCH_RECORDS = 512;

/** Counts for each record besides its value, for `maxBytes` and `maxLogBytes`. */
const RECORD_OVERHEAD_BYTES = 32;

/** How long after records became too old their memory is freed. Readers no longer see them in the meantime. */
const LATE_MS = 1000;

/** The logs of the memory engine: an array for each, which retention trims from the front. */
export class MemoryLogs implements LogStore {
  readonly #logs = new Map<string, Log>();
  readonly #limits: LogLimits;
  #bytes = 0;
  #closed = false;

  constructor(limits: LogLimits) {
    this.#limits = limits;
  }

  async append(name: string, values: readonly Uint8Array[]): Promise<{ first: bigint; last: bigint }> {
    this.#checkOpen();
    const { maxLogBytes, clock } = this.#limits;
    const added = values.reduce((sum, value) => sum + weight(value), 0);
    const log = this.#logs.get(name);
    const freed = log?.freedBy(added, values.length) ?? 0;
    if (added > freed && this.#bytes + added - freed > maxLogBytes) {
      throw fullError("maxLogBytes", maxLogBytes, "all records of the memory engine's logs together");
    }
    return (log ?? this.#create(name)).append(values, clock.wall());
  }

  async *read(
    name: string,
    from: bigint,
    { follow, signal }: { follow: boolean; signal: AbortSignal },
  ): AsyncGenerator<LogRecord[], void, undefined> {
    this.#checkOpen();
    // A follower waits for a log that does not exist yet; for other readers such a log is empty.
    const log = this.#logs.get(name) ?? (follow ? this.#create(name) : undefined);
    if (!log) return;
    log.readers++;
    try {
      for (let next = from; !signal.aborted; ) {
        if (this.#closed && follow) return;
        this.#checkOpen();
        log.trim();
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
    } finally {
      log.readers--;
      if (log.untouched) this.#logs.delete(name);
    }
  }

  async bounds(name: string): Promise<{ first: bigint; next: bigint }> {
    this.#checkOpen();
    const log = this.#logs.get(name);
    if (!log) return { first: 1n, next: 1n };
    log.trim();
    return { first: log.first, next: log.next };
  }

  async seek(name: string, timestampMs: number): Promise<bigint> {
    this.#checkOpen();
    const log = this.#logs.get(name);
    if (!log) return 1n;
    log.trim();
    return log.seek(timestampMs);
  }

  async retain(name: string, retention: Retention): Promise<void> {
    this.#checkOpen();
    const log = this.#logs.get(name) ?? this.#create(name);
    log.retain({ ...retention });
  }

  close(): void {
    this.#closed = true;
    for (const log of this.#logs.values()) log.close();
    this.#logs.clear();
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError("memory");
  }

  #create(name: string): Log {
    const log = new Log(this.#limits.clock, (bytes) => {
      this.#bytes += bytes;
    });
    this.#logs.set(name, log);
    return log;
  }
}

class Log {
  /** The offset of the oldest retained record, or of the next record if none is retained. */
  first = 1n;
  /** The number of current readers. */
  readers = 0;
  readonly #clock: Clock;
  readonly #onBytes: (change: number) => void;
  #retention: Retention | undefined;
  #records: (LogRecord | undefined)[] = [];
  /** The index of `first` in #records. Items before it are undefined, and are cut off in large pieces only. */
  #head = 0;
  #bytes = 0;
  #lastMs = 0;
  #stopTimer: (() => void) | undefined;
  readonly #waiting = new Set<() => void>();

  /** Calls `onBytes` with each change of the log's size. */
  constructor(clock: Clock, onBytes: (change: number) => void) {
    this.#clock = clock;
    this.#onBytes = onBytes;
  }

  get next(): bigint {
    return this.first + BigInt(this.#records.length - this.#head);
  }

  /** Whether the log can be removed: it never had a record, has no retention, and nobody reads it. */
  get untouched(): boolean {
    return this.next === 1n && this.#retention === undefined && this.readers === 0;
  }

  append(values: readonly Uint8Array[], nowMs: number): { first: bigint; last: bigint } {
    // Timestamps never go back within a log, even if the wall clock is set back.
    this.#lastMs = Math.max(this.#lastMs, nowMs);
    const first = this.next;
    let offset = first;
    let added = 0;
    for (const value of values) {
      this.#records.push({ offset: offset++, timestampMs: this.#lastMs, value: compactBytes(value) });
      added += weight(value);
    }
    this.#weigh(added);
    this.trim();
    this.#wake();
    return { first, last: offset - 1n };
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

  retain(retention: Retention): void {
    this.#retention = retention;
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    this.trim();
  }

  trim(): void {
    const { count, bytes } = this.#excess(0, 0);
    if (count > 0) {
      const head = this.#head + count;
      this.#records.fill(undefined, this.#head, head);
      this.#head = head;
      this.first += BigInt(count);
      this.#weigh(-bytes);
    }
    if (this.#head > 1024 && this.#head * 2 > this.#records.length) {
      this.#records = this.#records.slice(this.#head);
      this.#head = 0;
    }
    this.#scheduleTrim();
  }

  /** The bytes that retention will free if `records` more with `bytes` are appended. */
  freedBy(bytes: number, records: number): number {
    return this.#excess(bytes, records).bytes;
  }

  /** Resolves at the next append, or when `signal` aborts. */
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

  close(): void {
    this.#stopTimer?.();
    this.#records = [];
    this.#head = 0;
    this.#retention = undefined;
    this.#wake();
  }

  /** The oldest records that exceed the retention, if `moreRecords` with `moreBytes` were appended. */
  #excess(moreBytes: number, moreRecords: number): { count: number; bytes: number } {
    const { maxAgeMs, maxBytes, maxRecords } = this.#retention ?? {};
    const tooOldMs = maxAgeMs === undefined ? undefined : this.#clock.wallBefore(maxAgeMs);
    let bytes = 0;
    let at = this.#head;
    for (let oldest = this.#records[at]; oldest; oldest = this.#records[++at]) {
      const tooOld = tooOldMs !== undefined && oldest.timestampMs <= tooOldMs;
      const tooLarge = maxBytes !== undefined && this.#bytes + moreBytes - bytes > maxBytes;
      const tooMany = maxRecords !== undefined && this.#records.length + moreRecords - at > maxRecords;
      if (!tooOld && !tooLarge && !tooMany) break;
      bytes += weight(oldest.value);
    }
    return { count: at - this.#head, bytes };
  }

  #weigh(change: number): void {
    this.#bytes += change;
    this.#onBytes(change);
  }

  /** Sets a timer for the oldest record, so that an unused log also frees its old records. */
  #scheduleTrim(): void {
    const oldest = this.#records[this.#head];
    const maxAgeMs = this.#retention?.maxAgeMs;
    if (!oldest || maxAgeMs === undefined || this.#stopTimer) return;
    const dueMs = oldest.timestampMs - this.#clock.wallBefore(maxAgeMs);
    this.#stopTimer = runAfter(Math.max(dueMs, Math.min(maxAgeMs, LATE_MS)), () => {
      this.#stopTimer = undefined;
      this.trim();
    });
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}

const weight = (value: Uint8Array): number => value.length + RECORD_OVERHEAD_BYTES;
