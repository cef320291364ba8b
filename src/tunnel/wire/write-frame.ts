import { type ByteWriter, varintSize } from "./bytes.js";
import { type CallStatus, FLAG, type HeaderList, KIND, SETTING, type Settings } from "./frame.js";

export function writeSettings(to: ByteWriter, settings: Settings): void {
  to.byte(KIND.settings);
  const start = to.beginLength();
  for (const [name, value] of Object.entries(settings) as [keyof Settings, Settings[keyof Settings]][]) {
    if (value === undefined) continue;
    to.varint(SETTING[name]);
    if (typeof value === "string") {
      to.utf8(value);
    } else {
      to.varint(varintSize(value));
      to.varint(value);
    }
  }
  to.endLength(start);
}

/**
 * `method` is its number, or its path if the peer has no number for it yet. Without `timeoutMs` there is no deadline.
 */
export function writeCall(
  to: ByteWriter,
  id: number,
  method: number | string,
  timeoutMs: number | undefined,
  header: HeaderList,
): void {
  to.byte(KIND.call);
  const start = to.beginLength();
  to.varint(id);
  if (typeof method === "number") {
    to.varint(method);
  } else {
    to.varint(0);
    to.utf8(method);
  }
  to.varint(timeoutMs === undefined ? 0 : timeoutMs + 1);
  writeHeaderList(to, header);
  to.endLength(start);
}

/** Writes `bytes` and then `tail` as one frame. */
export function writeMessage(
  to: ByteWriter,
  id: number,
  bytes: Uint8Array,
  end: boolean,
  more = false,
  tail?: Uint8Array,
): void {
  to.byte(KIND.message | (end ? FLAG.end : 0) | (more ? FLAG.more : 0));
  to.varint(varintSize(id) + bytes.length + (tail?.length ?? 0));
  to.varint(id);
  to.bytes(bytes);
  if (tail) to.bytes(tail);
}

export function writeHeaders(to: ByteWriter, id: number, header: HeaderList): void {
  to.byte(KIND.headers);
  const start = to.beginLength();
  to.varint(id);
  writeHeaderList(to, header);
  to.endLength(start);
}

export function writeStatus(to: ByteWriter, id: number, { code, text, details, trailers }: CallStatus): void {
  to.byte(KIND.status);
  const start = to.beginLength();
  to.varint(id);
  to.varint(code);
  if (code !== 0 || text !== "" || details.length > 0 || trailers.length > 0) {
    to.utf8(text);
    to.varint(details.length);
    for (const { type, value } of details) {
      to.utf8(type);
      to.varint(value.length);
      to.bytes(value);
    }
    writeHeaderList(to, trailers);
  }
  to.endLength(start);
}

/** Ends a calling half whose last message had no END flag. */
export const writeEnd = (to: ByteWriter, id: number): void => writeNumbers(to, KIND.end, id);

export const writeReset = (to: ByteWriter, id: number, code: number): void =>
  writeNumbers(to, KIND.reset, id, code);

/** `id` 0 is the connection. */
export const writeCredit = (to: ByteWriter, id: number, bytes: number): void =>
  writeNumbers(to, KIND.credit, id, bytes);

export const writePing = (to: ByteWriter, number: number): void => writeNumbers(to, KIND.ping, number);

export const writePong = (to: ByteWriter, number: number): void => writeNumbers(to, KIND.pong, number);

export function writeGoaway(to: ByteWriter, lastId: number, reason: string): void {
  to.byte(KIND.goaway);
  const start = to.beginLength();
  to.varint(lastId);
  to.utf8(reason);
  to.endLength(start);
}

function writeNumbers(to: ByteWriter, kind: number, ...numbers: [number, number?]): void {
  to.byte(kind);
  const start = to.beginLength();
  for (const number of numbers) to.varint(number as number);
  to.endLength(start);
}

function writeHeaderList(to: ByteWriter, header: HeaderList): void {
  for (const [name, value] of header) {
    to.latin1(name);
    to.latin1(value);
  }
}
