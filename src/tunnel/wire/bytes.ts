import { ProtocolError } from "./protocol-error.js";

/** The largest number that a varint may hold: what JavaScript counts to without a gap. */
const MOST = Number.MAX_SAFE_INTEGER;

const utf8 = new TextEncoder();
// A mark in front of a text is a part of it.
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** How large a writer's buffer is at first. */
const FIRST_BYTES = 4096;
/** Where it would grow beyond the first of these, it becomes the other at once: what leaves in one when there is much. */
const MIDDLE_BYTES = 16 * 1024;
const LARGE_BYTES = 96 * 1024;

/** Large buffers that wait for another use, and how many are kept: what they hold is sent again and again. */
const free: Uint8Array<ArrayBuffer>[] = [];
const MOST_FREE = 16;

/** Gives back what take() returned, once nobody needs it any more. */
export function releaseBytes({ buffer }: Uint8Array<ArrayBuffer>): void {
  if (buffer.byteLength === LARGE_BYTES && free.length < MOST_FREE) free.push(new Uint8Array(buffer));
}

/** Bytes that grow at their end, and are taken as a whole. */
export class ByteWriter {
  /** What is not large is kept for the next time; there may be thousands of these, nearly all of them idle. */
  readonly #small = new Uint8Array(FIRST_BYTES);
  #bytes = this.#small;
  /** How many bytes have been written since the last take(). */
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

  /** A text of one byte a character, its length in front. */
  latin1(text: string): void {
    const { length } = text;
    this.varint(length);
    if (this.length + length > this.#bytes.length) this.#grow(length);
    for (let i = 0; i < length; i++) this.#bytes[this.length++] = text.charCodeAt(i);
  }

  /** A text of any characters, its length in bytes in front. */
  utf8(text: string): void {
    const bytes = utf8.encode(text);
    this.varint(bytes.length);
    this.bytes(bytes);
  }

  /** Starts something whose length stands in front of it; lengthFrom() writes that, with what this returned. */
  beginLength(): number {
    this.byte(0);
    return this.length;
  }

  endLength(start: number): void {
    const { length } = this;
    const size = length - start;
    if (size > 0x7f) {
      // Rare: most frames are short, so the one byte that was kept free is enough.
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

  /** All that was written, in a buffer of its own, and starts again. */
  take(): Uint8Array<ArrayBuffer> {
    const { length } = this;
    const bytes = this.#bytes;
    this.length = 0;
    if (bytes === this.#small) return bytes.slice(0, length);
    this.#bytes = this.#small;
    return bytes.subarray(0, length);
  }

  #grow(by: number): void {
    const needed = Math.max(this.#bytes.length * 2, this.length + by);
    const larger = largerThan(needed);
    larger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = larger;
  }
}

function largerThan(size: number): Uint8Array<ArrayBuffer> {
  if (size <= MIDDLE_BYTES || size > LARGE_BYTES) return new Uint8Array(size);
  return free.pop() ?? new Uint8Array(LARGE_BYTES);
}

/** How many bytes `value` takes as a varint. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) size++;
  return size;
}

/** Reads bytes from the front, and throws a ProtocolError where they end too early or make no sense. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  offset: number;
  /** Where what can be read ends. */
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
        if (value > MOST) break;
        return value;
      }
      scale *= 128;
    }
    throw new ProtocolError("a number is above 2^53 - 1");
  }

  /** The next `length` bytes, which are still those of the message they came in. */
  bytes(length: number): Uint8Array {
    if (length > this.end - this.offset) throw new ProtocolError("a frame ends within a field");
    this.offset += length;
    return this.#bytes.subarray(this.offset - length, this.offset);
  }

  rest(): Uint8Array {
    return this.bytes(this.end - this.offset);
  }

  /** The rest as it may be kept: a few bytes out of many are copied, so that they do not keep all of them in memory. */
  restToKeep(): Uint8Array {
    const start = this.offset;
    this.offset = this.end;
    const isFew = (this.end - start) * 4 < this.#bytes.buffer.byteLength;
    return isFew ? this.#bytes.slice(start, this.end) : this.#bytes.subarray(start, this.end);
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
