import type { LogRecord, Retention } from "../../../engine.js";
import type { StoredMessage } from "../direct-get.js";
import { ClusterError } from "../errors.js";
import type { StreamMessage } from "../message.js";

/** The header that has a message's LogHead, as JSON. */
const HEAD = "Fairlead-Log";

/** The length of one value in front of the values of a message. */
const LENGTH_BYTES = 4;

/**
 * What the header of a log's message says. So the last message of a log alone tells the log's state, and servers that
 * append or limit the log exclude each other by one condition on its subject.
 */
export interface LogHead {
  /** The offset of the message's first record, or of the next record if it has none. */
  first: number;
  /** How many records it has: none in a message that only changes the retention, or that outlives all records. */
  count: number;
  /** The timestamp of its records. Without records: that of the record before. */
  timeMs: number;
  /** The bytes of all values that were ever appended to the log before this message. */
  before: number;
  /** The bytes of the values of its records, even if it has only a part of the one record. */
  bytes: number;
  /** A record that is larger than a message is split over `parts` messages. */
  part?: { index: number; of: number };
  /** Earlier limits have left no record before this offset. */
  floor: number;
  retention: Retention;
}

/** A message of a log: where it is stored, its head and its payload. */
export interface LogMessage {
  sequence: number;
  head: LogHead;
  data: Uint8Array;
}

/** The state of a log, as its last message has it. */
export interface LogState {
  /** The sequence of the last message; 0 if there is none. */
  sequence: number;
  /** The offset of the next record. */
  next: number;
  /** The timestamp of the last record. */
  timeMs: number;
  /** The bytes of all values that were ever appended. */
  bytes: number;
  floor: number;
  retention: Retention;
}

/** The state of a log without messages. */
const NEW_LOG: LogState = { sequence: 0, next: 1, timeMs: 0, bytes: 0, floor: 1, retention: {} };

/** The state of the log of which `message` is the last one. */
export function stateOf(message: StoredMessage | undefined): LogState {
  return message ? stateAfter(decodeLogMessage(message).head, message.sequence) : NEW_LOG;
}

/** The state after the message with this head. */
export const stateAfter = (
  { first, count, timeMs, before, bytes, floor, retention }: LogHead,
  sequence: number,
): LogState => ({ sequence, next: first + count, timeMs, bytes: before + bytes, floor, retention });

/** A message without records, which carries the log's state on. */
export function encodeMarker(
  subject: string,
  { next, timeMs, bytes, floor, retention }: LogState,
): StreamMessage {
  const head = { first: next, count: 0, timeMs, before: bytes, bytes: 0, floor, retention };
  return { subject, data: new Uint8Array(0), headers: [[HEAD, JSON.stringify(head)]] };
}

/** Messages with all of `values`, each of at most `mostBytes` of payload, and the head of the last one. */
export function encodeRecords(
  subject: string,
  values: readonly Uint8Array[],
  state: LogState,
  mostBytes: number,
): { messages: StreamMessage[]; last: LogHead } {
  const messages: StreamMessage[] = [];
  let last: LogHead = { ...state, first: state.next, count: 0, before: state.bytes, bytes: 0 };
  const add = (head: LogHead, data: Uint8Array) => {
    const { first, count, timeMs, before, bytes, part, floor, retention } = head;
    const text = JSON.stringify({ first, count, timeMs, before, bytes, part, floor, retention });
    messages.push({ subject, data, headers: [[HEAD, text]] });
    last = head;
  };
  for (let start = 0; start < values.length; ) {
    const { timeMs, floor, retention } = state;
    const shared = { timeMs, floor, retention, first: state.next + start, before: last.before + last.bytes };
    const end = fittingEnd(values, start, mostBytes);
    if (end === start) {
      const value = values[start] as Uint8Array;
      const of = Math.ceil(value.length / mostBytes);
      for (let index = 0; index < of; index++) {
        const data = value.subarray(index * mostBytes, (index + 1) * mostBytes);
        add({ ...shared, count: 1, bytes: value.length, part: { index, of } }, data);
      }
      start++;
      continue;
    }
    const some = values.slice(start, end);
    add({ ...shared, count: some.length, bytes: byteLength(some) }, joinValues(some));
    start = end;
  }
  return { messages, last };
}

/** The bytes of a message's payload with these values. */
export const payloadBytes = (values: readonly Uint8Array[]): number =>
  LENGTH_BYTES * values.length + byteLength(values);

const byteLength = (values: readonly Uint8Array[]): number =>
  values.reduce((sum, { length }) => sum + length, 0);

/** The head and payload of a stored message of a log. */
export function decodeLogMessage({ sequence, subject, headers, data }: StoredMessage): LogMessage {
  const text = headers.get(HEAD);
  if (text === "") {
    throw new ClusterError(`The message ${sequence} on ${subject} is not one that Fairlead has stored`);
  }
  return { sequence, head: JSON.parse(text) as LogHead, data };
}

/** The records of a message that has whole records. */
export function decodeRecords({ head: { first, count, timeMs }, data }: LogMessage): LogRecord[] {
  const lengths = new DataView(data.buffer, data.byteOffset, LENGTH_BYTES * count);
  const records: LogRecord[] = [];
  let at = LENGTH_BYTES * count;
  for (let i = 0; i < count; i++) {
    const end = at + lengths.getUint32(i * LENGTH_BYTES);
    records.push({ offset: BigInt(first + i), timestampMs: timeMs, value: data.subarray(at, end) });
    at = end;
  }
  return records;
}

/** The offset of the first record of the message before which at least `bytes` of the log's values are. */
export function offsetAtBytes(message: LogMessage, bytes: number): number {
  const { first, count, before, part } = message.head;
  if (before >= bytes) return first;
  if (part) return first + count;
  let sum = before;
  for (const { offset, value } of decodeRecords(message)) {
    if (sum >= bytes) return Number(offset);
    sum += value.length;
  }
  return first + count;
}

/** The end of the values from `start` on that fit into one message; `start` if the first one does not. */
function fittingEnd(values: readonly Uint8Array[], start: number, mostBytes: number): number {
  let bytes = 0;
  let end = start;
  for (; end < values.length; end++) {
    bytes += LENGTH_BYTES + (values[end] as Uint8Array).length;
    if (bytes > mostBytes) break;
  }
  return end;
}

/** The values behind their lengths. */
function joinValues(values: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(payloadBytes(values));
  const lengths = new DataView(joined.buffer);
  let at = LENGTH_BYTES * values.length;
  for (const [i, value] of values.entries()) {
    lengths.setUint32(i * LENGTH_BYTES, value.length);
    joined.set(value, at);
    at += value.length;
  }
  return joined;
}
