import { ByteReader } from "./bytes.js";
import {
  type CallStatus,
  FLAG,
  type FrameReceiver,
  type HeaderList,
  KIND,
  MAX_DETAILS,
  NO_HEADERS,
  OK_STATUS,
  SETTING,
  type Settings,
} from "./frame.js";
import { CLOSE_CODE, ProtocolError } from "./protocol-error.js";

/** The limits that this end enforces on what it reads. */
export interface FrameLimits {
  readonly frameBytes: number;
  readonly headerBytes: number;
}

const KIND_BITS = 0x0f;
/** Bit 6 is reserved for compressed messages, bit 7 for later use. */
const RESERVED_BITS = 0xc0;

/** Whether the first frame of a WebSocket message is SETTINGS. */
export const startsWithSettings = (message: Uint8Array): boolean => message[0] === KIND.settings;

/** Reads the frames of one WebSocket message. Throws a ProtocolError at the first that is malformed. */
export function readFrames(message: Uint8Array, to: FrameReceiver, limits: FrameLimits): void {
  const reader = new ByteReader(message);
  while (reader.offset < message.length && !to.isClosed) {
    const first = reader.byte();
    const length = reader.varint();
    if (length > limits.frameBytes) {
      throw new ProtocolError(
        `a frame of ${length} bytes: at most ${limits.frameBytes} are taken`,
        CLOSE_CODE.limit,
      );
    }
    reader.end = reader.offset + length;
    if (reader.end > message.length) throw new ProtocolError("a frame is cut short");
    readFrame(first, reader, to, limits);
    if (!reader.isAtEnd) throw new ProtocolError("a frame has bytes behind its last field");
    reader.end = message.length;
  }
}

function readFrame(first: number, from: ByteReader, to: FrameReceiver, limits: FrameLimits): void {
  const kind = first & KIND_BITS;
  const flags = first & ~KIND_BITS;
  if (flags !== 0) checkFlags(kind, flags);
  switch (kind) {
    case KIND.message:
      readMessage(flags, from, to);
      break;
    case KIND.call:
      readCall(from, to, limits);
      break;
    case KIND.status:
      to.status(readStreamId(from), readStatus(from, limits));
      break;
    case KIND.end:
      to.end(readStreamId(from));
      break;
    case KIND.headers:
      to.headers(readStreamId(from), readHeaderList(from, limits));
      break;
    case KIND.credit:
      to.credit(from.varint(), from.varint());
      break;
    case KIND.reset:
      to.reset(readStreamId(from), from.varint());
      break;
    case KIND.ping:
      to.ping(from.varint());
      break;
    case KIND.pong:
      to.pong(from.varint());
      break;
    case KIND.settings:
      to.settings(readSettings(from));
      break;
    case KIND.goaway:
      to.goaway(from.varint(), from.utf8());
      break;
    default:
      throw new ProtocolError(`a frame of kind ${kind}, which this version does not have`);
  }
}

/** Only MESSAGE has flags. */
function checkFlags(kind: number, flags: number): void {
  const allowed = kind === KIND.message ? FLAG.end | FLAG.more : 0;
  if ((flags & (RESERVED_BITS | ~allowed)) === 0) return;
  throw new ProtocolError(`a frame of kind ${kind} has flags 0x${flags.toString(16)}, which it cannot have`);
}

function readMessage(flags: number, from: ByteReader, to: FrameReceiver): void {
  const end = (flags & FLAG.end) !== 0;
  const more = (flags & FLAG.more) !== 0;
  if (end && more) throw new ProtocolError("a message goes on behind the end of its half");
  to.message(readStreamId(from), from.restToKeep(), end, more);
}

function readCall(from: ByteReader, to: FrameReceiver, limits: FrameLimits): void {
  const id = readStreamId(from);
  const method = from.varint() || readPath(from);
  const timeout = from.varint();
  to.call(id, method, timeout === 0 ? undefined : timeout - 1, readHeaderList(from, limits));
}

function readStreamId(from: ByteReader): number {
  const id = from.varint();
  if (id === 0) throw new ProtocolError("a stream has the number 0");
  return id;
}

/** The most characters of a method's path. */
const MAX_PATH_LENGTH = 1024;

function readPath(from: ByteReader): string {
  const text = from.utf8();
  if (text.length > MAX_PATH_LENGTH || !/^\/[^/\s]+\/[^/\s]+$/.test(text)) {
    throw new ProtocolError("a path must be /package.Service/Method");
  }
  return text;
}

/** Reads a header list to the end of the frame. */
function readHeaderList(from: ByteReader, { headerBytes }: FrameLimits): HeaderList {
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
    if (!isHeaderName(name)) throw new ProtocolError("a header has a name that is none");
    if (!isHeaderValue(value)) {
      throw new ProtocolError(
        `the header ${name.slice(0, 40)} has a value with a line end or blanks around it`,
      );
    }
    list.push([name, value]);
  }
  return list;
}

const isHeaderName = (name: string): boolean => /^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name);

/** As strict as fetch's Headers, which throws on such a value: that must not end the calls of the whole socket. */
const isHeaderValue = (value: string): boolean => /^(?![\t ])[^\0\r\n]*(?<![\t ])$/.test(value);

function readStatus(from: ByteReader, limits: FrameLimits): CallStatus {
  const code = from.varint();
  if (code > 16) throw new ProtocolError(`a status has the code ${code}: they are 0 to 16`);
  if (from.isAtEnd) return code === 0 ? OK_STATUS : { ...OK_STATUS, code };
  const text = from.utf8();
  const count = from.varint();
  if (count > MAX_DETAILS) {
    throw new ProtocolError(`an error has more than ${MAX_DETAILS} details`, CLOSE_CODE.limit);
  }
  const details: { type: string; value: Uint8Array }[] = [];
  for (let i = 0; i < count; i++) {
    const type = from.utf8();
    details.push({ type, value: Uint8Array.prototype.slice.call(from.bytes(from.varint())) });
  }
  return { code, text, details, trailers: readHeaderList(from, limits) };
}

/** The names of the settings, in the order of their keys from 1 on. */
const SETTING_NAMES = Object.keys(SETTING) as (keyof Settings)[];

function readSettings(from: ByteReader): Settings {
  const settings: Settings = {};
  while (!from.isAtEnd) {
    const key = from.varint();
    const length = from.varint();
    const value = new ByteReader(from.bytes(length));
    const name = SETTING_NAMES[key - 1];
    if (name === "appId" || name === "authorization") settings[name] = value.utf8(length);
    else if (name) settings[name] = readWholeVarint(value);
  }
  return settings;
}

/** Reads a varint that must fill the whole value. */
function readWholeVarint(value: ByteReader): number {
  const number = value.varint();
  if (!value.isAtEnd) throw new ProtocolError("a setting has bytes behind its number");
  return number;
}
