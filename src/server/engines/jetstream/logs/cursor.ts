import type { LogRecord } from "../../../engine.js";
import type { StoredMessage } from "../direct-get.js";
import { ClusterError } from "../errors.js";
import type { StreamReader } from "../stream-reader.js";
import { decodeLogMessage, decodeRecords, type LogMessage } from "./message.js";

/** One request reads no further message after this many bytes, or this many messages. */
const READ_BYTES = 512 * 1024;
const READ_MESSAGES = 1000;

/** Where a cursor begins: the sequence of the message that has the record with the offset `next`, or a lower one. */
export interface CursorStart {
  sequence: number;
  next: number;
}

export interface CursorOptions {
  reader: StreamReader;
  subject: string;
  /** The oldest retained offset now: asked when messages are missing, which must have been removed by retention. */
  firstRetained: () => Promise<number>;
}

/** Reads the records of one log in order, and checks that none is missing. One request is ahead of its reader. */
export class LogCursor {
  /** The offset of the next record. */
  next: number;
  readonly #options: CursorOptions;
  /** The sequence of the next message, or a lower one. */
  #sequence: number;
  /** The parts of a record that have been read. */
  #parts: Uint8Array[] = [];
  #ahead: Promise<StoredMessage[]> | undefined;

  constructor({ sequence, next }: CursorStart, options: CursorOptions) {
    this.#sequence = sequence;
    this.next = next;
    this.#options = options;
  }

  /** The sequence behind which the cursor has read everything. */
  get position(): number {
    return this.#sequence - 1;
  }

  /** Some further records, of a log that has a message with the sequence `least`. None: those had no records. */
  async read(least: number): Promise<LogRecord[]> {
    const stored = await (this.#ahead ?? this.#request());
    this.#ahead = undefined;
    const records: LogRecord[] = [];
    for (const message of stored) {
      if (message.sequence < this.#sequence) continue;
      for (const record of await this.#take(decodeLogMessage(message))) records.push(record);
      this.#sequence = message.sequence + 1;
    }
    if (this.position < least) {
      this.#ahead = this.#request();
      // Its error is thrown by the next read, if there is one.
      this.#ahead.catch(() => {});
    }
    return records;
  }

  #request(): Promise<StoredMessage[]> {
    const { reader, subject } = this.#options;
    return reader.nextKnown(subject, this.#sequence, READ_MESSAGES, READ_BYTES);
  }

  /** The records of the message from `next` on; none if it is a part of one, and not the last part. */
  async #take(message: LogMessage): Promise<LogRecord[]> {
    const { first, count, part, timeMs } = message.head;
    if (first + count < this.next || (count > 0 && first + count === this.next)) return [];
    if (first > this.next || (part && part.index !== this.#parts.length)) await this.#skipTo(message);
    if (!part) {
      const records = decodeRecords(message).slice(this.next - first);
      this.next = first + count;
      return records;
    }
    this.#parts.push(message.data);
    if (this.#parts.length < part.of) return [];
    const value = joinParts(this.#parts);
    this.#parts = [];
    this.next = first + 1;
    return [{ offset: BigInt(first), timestampMs: timeMs, value }];
  }

  /** Goes on with a later message than the next one, if retention has removed what was in between. */
  async #skipTo({ sequence, head: { first, part } }: LogMessage): Promise<void> {
    const isStart = part === undefined || part.index === 0;
    if (!isStart || first <= this.next || first > (await this.#options.firstRetained())) {
      throw new ClusterError(
        `The log on ${this.#options.subject} is damaged: offset ${this.next} is missing before the message ${sequence}`,
      );
    }
    this.#parts = [];
    this.next = first;
  }
}

function joinParts(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
