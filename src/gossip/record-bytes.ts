/** Writes numbers and bytes one after the other. Words are big-endian. */
export class RecordWriter {
  #bytes = new Uint8Array(64);
  #length = 0;

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  bytes(values: Uint8Array): void {
    this.#reserve(values.length);
    this.#bytes.set(values, this.#length);
    this.#length += values.length;
  }

  uint32(value: number): void {
    this.#reserve(4);
    for (const shift of [24, 16, 8, 0]) this.#bytes[this.#length++] = value >>> shift;
  }

  uint64(value: bigint): void {
    this.uint32(Number(value >> 32n) | 0);
    this.uint32(Number(value & 0xffff_ffffn) | 0);
  }

  /** A number as Protobuf writes it: 7 bits in each byte, the lowest first. */
  varint(value: number): void {
    for (let rest = value; ; rest >>>= 7) {
      this.byte(rest < 128 ? rest : (rest & 127) | 128);
      if (rest < 128) return;
    }
  }

  /** Increasing numbers: how many, then the distance of each to the one before, less one. */
  increasing(numbers: readonly number[]): void {
    this.varint(numbers.length);
    let previous = -1;
    for (const number of numbers) {
      this.varint(number - previous - 1);
      previous = number;
    }
  }

  /** A part that a reader can skip: its kind, its length, and what `write` writes. */
  section(kind: number, write: (body: RecordWriter) => void): void {
    const body = new RecordWriter();
    write(body);
    const bytes = body.finish();
    this.byte(kind);
    this.varint(bytes.length);
    this.bytes(bytes);
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + count));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}

/** Reads what RecordWriter writes. Throws RangeError at the end of the bytes, and for malformed numbers. */
export class RecordReader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, start = 0) {
    this.#bytes = bytes;
    this.#at = start;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    const value = this.#bytes[this.#at++];
    if (value === undefined) throw new RangeError("the bytes end too early");
    return value;
  }

  uint32(): number {
    return (this.byte() << 24) | (this.byte() << 16) | (this.byte() << 8) | this.byte();
  }

  uint64(): bigint {
    const high = this.uint32();
    return (BigInt(high >>> 0) << 32n) | BigInt(this.uint32() >>> 0);
  }

  /** A number below 2^28. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte();
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw new RangeError("a number is too long");
  }

  /** Increasing numbers below `end`. */
  increasing(end: number): number[] {
    const count = this.varint();
    if (count > end) throw new RangeError(`there are ${count} numbers below ${end}`);
    const numbers: number[] = [];
    for (let previous = -1; numbers.length < count; ) {
      previous += this.varint() + 1;
      if (previous >= end) throw new RangeError(`${previous} must be below ${end}`);
      numbers.push(previous);
    }
    return numbers;
  }

  /** The body of a section, after its kind. */
  section(): RecordReader {
    const length = this.varint();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError("the bytes end too early");
    const body = new RecordReader(this.#bytes.subarray(0, end), this.#at);
    this.#at = end;
    return body;
  }
}
