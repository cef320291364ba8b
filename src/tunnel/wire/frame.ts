import { ByteReader, type ByteWriter, varintSize } from "./bytes.js";
import { CLOSE_CODE, ProtocolError } from "./protocol-error.js";

/** The WebSocket subprotocol: another version is another name. */
export const SUBPROTOCOL = "fairlead.tunnel.v1";

/** What the low four bits of a frame's first byte say. */
const KIND = {
  settings: 1,
  call: 2,
  message: 3,
  headers: 4,
  status: 5,
  reset: 6,
  credit: 7,
  ping: 8,
  pong: 9,
  goaway: 10,
  end: 11,
} as const;

/** The half of the stream ends with this frame. On a message of the answering half it says OK as well. */
const END = 0x10;
/** The message goes on in the next frame of its stream. */
const MORE = 0x20;
const KIND_BITS = 0x0f;
/** Kept for messages that are compressed, and for what nobody has thought of yet. */
const UNUSED_BITS = 0xc0;

/** Names in lower case, and values, in their order. A name may come again. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

/** How the answering half ended. */
export interface CallStatus {
  /** A code of Connect; 0: well. */
  readonly code: number;
  readonly text: string;
  readonly details: readonly { readonly type: string; readonly value: Uint8Array }[];
  readonly trailers: HeaderList;
}

const NO_HEADERS: HeaderList = [];

/** All is well, and there is nothing more to say. */
export const OK_STATUS: CallStatus = { code: 0, text: "", details: [], trailers: NO_HEADERS };

/** What one end tells the other of itself. Absent: as it was before, and at first the default. */
export interface Settings {
  /** How many bytes of messages a stream may have under way to this end. Default: 65536, until told. */
  streamWindow?: number;
  /** The same for all streams together. Default: 262144, until told. */
  connectionWindow?: number;
  /** How many calls this end takes at the same time. Default: 100, until told. */
  calls?: number;
  /** The most bytes of a header block that this end takes. Default: 16384, until told. */
  headerBytes?: number;
  /** The app that this end is. Default: none. */
  appId?: string;
  /** What calls without an `authorization` header of their own carry. Default: nothing. */
  authorization?: string;
  /** What this end serves: another number each time that changes; 0: nothing. Default: 0. */
  offer?: number;
  /** Which of the other end's offers this end calls now. Default: 0. */
  calledOffer?: number;
}

/** The numbers of the settings. Ones that a peer does not know, it passes over. */
const SETTING = {
  streamWindow: 1,
  connectionWindow: 2,
  calls: 3,
  headerBytes: 4,
  appId: 5,
  authorization: 6,
  offer: 7,
  calledOffer: 8,
} as const;

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

/** `method`: its number, or its path where the peer does not know a number for it yet. `timeoutMs` undefined: none. */
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

/** `tail`: how the bytes go on. */
export function writeMessage(
  to: ByteWriter,
  id: number,
  bytes: Uint8Array,
  end: boolean,
  more = false,
  tail?: Uint8Array,
): void {
  to.byte(KIND.message | (end ? END : 0) | (more ? MORE : 0));
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

/** The end of a calling half, where its last message did not say it. */
export const writeEnd = (to: ByteWriter, id: number): void => writeNumbers(to, KIND.end, id);

export const writeReset = (to: ByteWriter, id: number, code: number): void =>
  writeNumbers(to, KIND.reset, id, code);

/** Of the whole connection where `id` is 0. */
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

/** Takes frames as they are read. Bytes that it wants to keep it has to copy. */
export interface FrameReceiver {
  /** Whether nothing more is wanted, not even of the message that is being read. */
  readonly isClosed: boolean;
  settings(settings: Settings): void;
  call(id: number, method: number | string, timeoutMs: number | undefined, header: HeaderList): void;
  message(id: number, bytes: Uint8Array, end: boolean, more: boolean): void;
  end(id: number): void;
  headers(id: number, header: HeaderList): void;
  status(id: number, status: CallStatus): void;
  reset(id: number, code: number): void;
  credit(id: number, bytes: number): void;
  ping(number: number): void;
  pong(number: number): void;
  goaway(lastId: number, reason: string): void;
}

/** Whether the first frame of a message is the settings. */
export const startsWithSettings = (message: Uint8Array): boolean => message[0] === KIND.settings;

/** Reads the frames of one WebSocket message. Throws a ProtocolError at the first that is broken. */
export function readFrames(message: Uint8Array, to: FrameReceiver, most: FrameLimits): void {
  const reader = new ByteReader(message);
  while (reader.offset < message.length && !to.isClosed) {
    const first = reader.byte();
    const length = reader.varint();
    if (length > most.frameBytes) {
      throw new ProtocolError(
        `a frame of ${length} bytes: at most ${most.frameBytes} are taken`,
        CLOSE_CODE.limit,
      );
    }
    reader.end = reader.offset + length;
    if (reader.end > message.length) throw new ProtocolError("a frame is cut short");
    readFrame(first, reader, to, most);
    if (!reader.isAtEnd) throw new ProtocolError("a frame has bytes behind its last field");
    reader.end = message.length;
  }
}

/** What one end takes of the other. */
export interface FrameLimits {
  readonly frameBytes: number;
  readonly headerBytes: number;
}

function readFrame(first: number, from: ByteReader, to: FrameReceiver, most: FrameLimits): void {
  const kind = first & KIND_BITS;
  const flags = first & ~KIND_BITS;
  if (flags & UNUSED_BITS || flags & ~(MAY_HAVE[kind] ?? 0)) {
    throw new ProtocolError(
      `a frame of kind ${kind} has flags 0x${flags.toString(16)}, which it cannot have`,
    );
  }
  const end = (flags & END) !== 0;
  switch (kind) {
    case KIND.message: {
      if (end && flags & MORE) throw new ProtocolError("a message goes on behind the end of its half");
      const id = streamId(from);
      to.message(id, from.restToKeep(), end, (flags & MORE) !== 0);
      break;
    }
    case KIND.call: {
      const id = streamId(from);
      const method = from.varint() || path(from);
      const timeout = from.varint();
      to.call(id, method, timeout === 0 ? undefined : timeout - 1, headerList(from, most));
      break;
    }
    case KIND.status:
      to.status(streamId(from), status(from, most));
      break;
    case KIND.end:
      to.end(streamId(from));
      break;
    case KIND.headers:
      to.headers(streamId(from), headerList(from, most));
      break;
    case KIND.credit:
      to.credit(from.varint(), from.varint());
      break;
    case KIND.reset:
      to.reset(streamId(from), from.varint());
      break;
    case KIND.ping:
      to.ping(from.varint());
      break;
    case KIND.pong:
      to.pong(from.varint());
      break;
    case KIND.settings:
      to.settings(settings(from));
      break;
    case KIND.goaway:
      to.goaway(from.varint(), from.utf8());
      break;
    default:
      throw new ProtocolError(`a frame of kind ${kind}, which this version does not have`);
  }
}

/** The flags that each kind may have. */
const MAY_HAVE: Record<number, number> = {
  [KIND.message]: END | MORE,
};

function streamId(from: ByteReader): number {
  const id = from.varint();
  if (id === 0) throw new ProtocolError("a stream has the number 0");
  return id;
}

/** The most characters of a method's path. */
const PATH_LENGTH = 1024;

function path(from: ByteReader): string {
  const text = from.utf8();
  if (text.length > PATH_LENGTH || !/^\/[^/\s]+\/[^/\s]+$/.test(text)) {
    throw new ProtocolError("a call has a path that is not of the form /package.Service/Method");
  }
  return text;
}

/** All that is left of the frame. */
function headerList(from: ByteReader, { headerBytes }: FrameLimits): HeaderList {
  if (from.isAtEnd) return NO_HEADERS;
  const bytes = from.end - from.offset;
  if (bytes > headerBytes) {
    throw new ProtocolError(
      `a header block of ${bytes} bytes: at most ${headerBytes} are taken`,
      CLOSE_CODE.limit,
    );
  }
  const list: [string, string][] = [];
  while (!from.isAtEnd) {
    const name = from.latin1();
    const value = from.latin1();
    if (!isName(name)) throw new ProtocolError("a header has a name that is none");
    if (!isValue(value)) {
      throw new ProtocolError(
        `the header ${name.slice(0, 40)} has a value with a line end or blanks around it`,
      );
    }
    list.push([name, value]);
  }
  return list;
}

const isName = (name: string): boolean => /^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name);

/** As fetch's Headers take them: one call's odd header must not cost the others their socket. */
const isValue = (value: string): boolean => /^(?![\t ])[^\0\r\n]*(?<![\t ])$/.test(value);

/** The most details that an error may have. */
export const MAX_DETAILS = 64;

function status(from: ByteReader, most: FrameLimits): CallStatus {
  const code = from.varint();
  if (code > 16) throw new ProtocolError(`a status has the code ${code}: they are 0 to 16`);
  if (from.isAtEnd) return code === 0 ? OK_STATUS : { ...OK_STATUS, code };
  const text = from.utf8();
  const count = from.varint();
  if (count > MAX_DETAILS)
    throw new ProtocolError(`an error has more than ${MAX_DETAILS} details`, CLOSE_CODE.limit);
  const details: { type: string; value: Uint8Array }[] = [];
  for (let i = 0; i < count; i++) {
    const type = from.utf8();
    details.push({ type, value: Uint8Array.prototype.slice.call(from.bytes(from.varint())) });
  }
  return { code, text, details, trailers: headerList(from, most) };
}

function settings(from: ByteReader): Settings {
  const found: Settings = {};
  while (!from.isAtEnd) {
    const key = from.varint();
    const length = from.varint();
    const value = new ByteReader(from.bytes(length));
    if (key === SETTING.streamWindow) found.streamWindow = only(value);
    else if (key === SETTING.connectionWindow) found.connectionWindow = only(value);
    else if (key === SETTING.calls) found.calls = only(value);
    else if (key === SETTING.headerBytes) found.headerBytes = only(value);
    else if (key === SETTING.offer) found.offer = only(value);
    else if (key === SETTING.calledOffer) found.calledOffer = only(value);
    else if (key === SETTING.appId) found.appId = value.utf8(length);
    else if (key === SETTING.authorization) found.authorization = value.utf8(length);
  }
  return found;
}

/** The varint that is all of a setting. */
function only(value: ByteReader): number {
  const number = value.varint();
  if (!value.isAtEnd) throw new ProtocolError("a setting has bytes behind its number");
  return number;
}
