import { ProtocolError } from "./protocol-error.js";

/** The largest value of a varint. */
const MAX_VARINT = Number.MAX_SAFE_INTEGER;

const utf8 = new TextEncoder();
// A byte order mark is part of the text.
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The initial size of a writer's buffer. */
const FIRST_BYTES = 4096;
/** A buffer that outgrows the first of these gets the second at once: the size of a full batch. */
const MIDDLE_BYTES = 16 * 1024;
const LARGE_BYTES = 96 * 1024;

/** Large buffers for reuse. */
const freeBuffers: Uint8Array<ArrayBuffer>[] = [];
const MAX_FREE_BUFFERS = 16;

/** Returns the buffer of take() for reuse. Nobody may use it afterwards. */
export function releaseBytes({ buffer }: Uint8Array<ArrayBuffer>): void {
  if (buffer.byteLength === LARGE_BYTES && freeBuffers.length < MAX_FREE_BUFFERS)
    freeBuffers.push(new Uint8Array(buffer));
}

/** A growing buffer that frames are appended to. */
export class ByteWriter {
  /** The small buffer is kept; larger ones are not, as there may be thousands of idle writers. */
  readonly #small = new Uint8Array(FIRST_BYTES);
  #bytes = this.#small;
  /** The bytes written since the last take(). */
  length = 0;

  byte(value: number): void {
    if (this.length === this.#bytes.length) this.#grow(1);
    this.#bytes[this.length++] = value;
  }

  varint(value: number): void {
    let rest = value;
    for (; rest > 0x7fff_ffff; rest = Math.floor(rest / 128)) this.byte((rest % 128) | 0x80);
    for (; rest > 0x7f; rest >>>= 7) this.byte((rest & 0x7f) | 0x80);
    this.byte(rest);
  }

  bytes(bytes: Uint8Array): void {
    if (this.length + bytes.length > this.#bytes.length) this.#grow(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Writes a text as its length and Latin-1. */
  latin1(text: string): void {
    const { length } = text;
    this.varint(length);
    if (this.length + length > this.#bytes.length) this.#grow(length);
    for (let i = 0; i < length; i++) this.#bytes[this.length++] = text.charCodeAt(i);
  }

  /** Writes a text as its length in bytes and UTF-8. */
  utf8(text: string): void {
    const bytes = utf8.encode(text);
    this.varint(bytes.length);
    this.bytes(bytes);
  }

  /** Starts a part that its length precedes; endLength(), given the result, writes that length. */
  beginLength(): number {
    this.byte(0);
    return this.length;
  }

  endLength(start: number): void {
    const { length } = this;
    const size = length - start;
    if (size > 0x7f) {
      // Rare: one byte is reserved, which is enough for the length of most frames.
      const extra = varintSize(size) - 1;
      if (length + extra > this.#bytes.length) this.#grow(extra);
      this.#bytes.copyWithin(start + extra, start, length);
      this.length = start - 1;
      this.varint(size);
      this.length = length + extra;
    } else {
      this.#bytes[start - 1] = size;
    }
  }

  /** Returns all that was written, in a buffer that the caller owns, and starts again. */
  take(): Uint8Array<ArrayBuffer> {
    const { length } = this;
    const bytes = this.#bytes;
    this.length = 0;
    if (bytes === this.#small) return bytes.slice(0, length);
    this.#bytes = this.#small;
    return bytes.subarray(0, length);
  }

  #grow(added: number): void {
    const needed = Math.max(this.#bytes.length * 2, this.length + added);
    const larger = allocate(needed);
    larger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = larger;
  }
}

function allocate(size: number): Uint8Array<ArrayBuffer> {
  if (size <= MIDDLE_BYTES || size > LARGE_BYTES) return new Uint8Array(size);
  return freeBuffers.pop() ?? new Uint8Array(LARGE_BYTES);
}

/** The bytes of `value` as a varint. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) size++;
  return size;
}

/** Reads fields from the front. Throws a ProtocolError if the bytes end too early or a field is malformed. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  offset: number;
  /** Fields may be read up to this offset. */
  end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.offset = at;
    this.end = end;
  }

  get isAtEnd(): boolean {
    return this.offset >= this.end;
  }

  byte(): number {
    if (this.offset >= this.end) throw new ProtocolError("a frame ends within a field");
    return this.#bytes[this.offset++] as number;
  }

  varint(): number {
    const first = this.byte();
    if (first < 0x80) return first;
    let value = first & 0x7f;
    let scale = 128;
    for (let i = 1; i < 8; i++) {
      const next = this.byte();
      value += (next & 0x7f) * scale;
      if (next < 0x80) {
        if (next === 0) throw new ProtocolError("a number is longer than it need be");
        if (value > MAX_VARINT) break;
        return value;
      }
      scale *= 128;
    }
    throw new ProtocolError("a number is above 2^53 - 1");
  }

  /** The next `length` bytes, as a view of the message. */
  bytes(length: number): Uint8Array {
    if (length > this.end - this.offset) throw new ProtocolError("a frame ends within a field");
    this.offset += length;
    return this.#bytes.subarray(this.offset - length, this.offset);
  }

  /** The rest, to be kept: a small part of a large message is copied, so that it does not retain all of it. */
  restToKeep(): Uint8Array {
    const start = this.offset;
    this.offset = this.end;
    const isSmall = (this.end - start) * 4 < this.#bytes.buffer.byteLength;
    return isSmall ? this.#bytes.slice(start, this.end) : this.#bytes.subarray(start, this.end);
  }

  latin1(): string {
    const length = this.varint();
    if (length > this.end - this.offset) throw new ProtocolError("a frame ends within a field");
    let text = "";
    for (const end = this.offset + length; this.offset < end; this.offset++) {
      text += String.fromCharCode(this.#bytes[this.offset] as number);
    }
    return text;
  }

  utf8(length = this.varint()): string {
    const bytes = this.bytes(length);
    try {
      return strictUtf8.decode(bytes);
    } catch {
      throw new ProtocolError("a text is not UTF-8");
    }
  }
}
