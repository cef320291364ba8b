import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type MapValue, MapValueSchema } from "../../../gen/atomix/map/map_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";

/**
 * A line of the journal of a map: an entry was stored, with or without the server's confirmation, or the server has
 * confirmed the entry with this timestamp.
 */
export type JournalLine =
  | { type: "set"; key: string; value: MapValue; isSent: boolean }
  | { type: "sent"; key: string; timestamp: Uint8Array };

/** The version of the layout below. A reader refuses a later one. */
const VERSION = 1;

/** The flags of a line. */
const SENT_ONLY = 1;
const SENT = 2;
const TOMBSTONE = 4;
/** The entry is kept as the message that it was, because it has more than the fields of a usual one. */
const AS_MESSAGE = 8;

const NO_BYTES = new Uint8Array();

/**
 * Encodes lines as one record: the version, the number of lines, all keys as one text, and the lines. One text is
 * decoded much faster than thousands. Numbers are varints; a line has its flags, the length of its key in UTF-16 units,
 * the timestamp and the value.
 */
export function encodeJournalRecord(lines: readonly JournalLine[]): Uint8Array {
  const record = new ByteWriter();
  record.number(VERSION);
  record.number(lines.length);
  record.bytes(utf8(lines.map(({ key }) => key).join("")));
  for (const line of lines) {
    if (line.type === "sent") {
      record.number(SENT_ONLY);
      record.number(line.key.length);
      record.bytes(line.timestamp);
      continue;
    }
    const { digest, value } = line.value;
    const isUsual =
      digest && !digest.$unknown && !line.value.$unknown && !(digest.tombstone && value.length > 0);
    const flags = (line.isSent ? SENT : 0) | (digest?.tombstone ? TOMBSTONE : 0);
    record.number(flags | (isUsual ? 0 : AS_MESSAGE));
    record.number(line.key.length);
    if (!isUsual) {
      record.bytes(toBinary(MapValueSchema, line.value));
      continue;
    }
    record.bytes(digest.timestamp);
    if (!digest.tombstone) record.bytes(value);
  }
  return record.finish();
}

/** A record was written by a later version of this library. */
export class LaterVersionError extends Error {}

/** The lines of a record. Throws if it is damaged, and a LaterVersionError if it has a later version. */
export function decodeJournalRecord(record: Uint8Array): JournalLine[] {
  const reader = new ByteReader(record);
  const version = reader.number();
  if (version > VERSION) {
    throw new LaterVersionError(
      `the stored map has version ${version} of its format, this library knows ${VERSION}: update it`,
    );
  }
  const count = reader.number();
  const keys = fromUtf8(reader.bytes());
  const lines: JournalLine[] = [];
  for (let i = 0, at = 0; i < count; i++) {
    const flags = reader.number();
    const key = keys.slice(at, (at += reader.number()));
    const first = reader.bytes();
    if (flags === SENT_ONLY) lines.push({ type: "sent", key, timestamp: first });
    else lines.push({ type: "set", key, value: entryOf(flags, first, reader), isSent: (flags & SENT) > 0 });
  }
  return lines;
}

function entryOf(flags: number, first: Uint8Array, reader: ByteReader): MapValue {
  if (flags & AS_MESSAGE) return fromBinary(MapValueSchema, first);
  const tombstone = (flags & TOMBSTONE) > 0;
  // Not create(), which takes as long as all the rest.
  return {
    $typeName: "atomix.map.MapValue",
    digest: { $typeName: "atomix.map.Digest", timestamp: first, tombstone },
    value: tombstone ? NO_BYTES : reader.bytes(),
  };
}

/** A growing buffer. */
class ByteWriter {
  #buffer = new Uint8Array(1024);
  #length = 0;

  number(value: number): void {
    this.#reserve(5);
    for (; value > 0x7f; value >>>= 7) this.#buffer[this.#length++] = (value & 0x7f) | 0x80;
    this.#buffer[this.#length++] = value;
  }

  bytes(bytes: Uint8Array): void {
    this.number(bytes.length);
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  finish(): Uint8Array {
    return this.#buffer.slice(0, this.#length);
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(this.#buffer.length * 2, this.#length + bytes));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }
}

class ByteReader {
  readonly #record: Uint8Array;
  #at = 0;

  constructor({ buffer, byteOffset, length }: Uint8Array) {
    // Not the record itself: slice() of a Node Buffer would copy nothing.
    this.#record = new Uint8Array(buffer, byteOffset, length);
  }

  number(): number {
    for (let value = 0, shift = 0; shift < 35; shift += 7) {
      const byte = this.#record[this.#at++];
      if (byte === undefined) break;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new Error("a record of the stored map is damaged");
  }

  /** A copy, so that one kept value does not keep the whole record. */
  bytes(): Uint8Array {
    const length = this.number();
    const bytes = this.#record.slice(this.#at, (this.#at += length));
    if (bytes.length < length) throw new Error("a record of the stored map is damaged");
    return bytes;
  }
}
