/** The files of a LevelDB, by its manifest. */
export type StoreManifest = {
  /** The number of the oldest journal that is not in a table yet; 0: there is no journal. */
  journal: number;
  /** The tables by their number. */
  tables: Map<number, TableFacts>;
};

/** A table's size in bytes, its level, and its first and last key. */
export type TableFacts = { size: number; level: number; smallest: Buffer; largest: Buffer };

/** The sequence and the type of a write, after each key of a table. */
const TAG_BYTES = 8;

/** The tags of a record's fields. */
const COMPARATOR = 1;
const JOURNAL = 2;
const NEXT_FILE = 3;
const LAST_SEQUENCE = 4;
const COMPACT_POINTER = 5;
const DELETED_TABLE = 6;
const NEW_TABLE = 7;
const PREVIOUS_JOURNAL = 9;

/** Reads varints and length-prefixed bytes from a buffer. */
export class VarintReader {
  readonly #bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#bytes.length;
  }

  /** Rounds numbers above 2^53: only sequences can be that large. */
  number(): number {
    let number = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#bytes.readUInt8(this.at++);
      number += (byte & 0x7f) * scale;
      if (byte < 0x80) return number;
    }
  }

  bytes(): Buffer {
    const length = this.number();
    const start = this.at;
    this.at += length;
    if (this.at > this.#bytes.length) throw new RangeError("a field is cut short");
    return this.#bytes.subarray(start, this.at);
  }
}

/** Applies all records of a manifest. Throws a RangeError if one of them is invalid. */
export function manifestOf(records: readonly Buffer[]): StoreManifest {
  const manifest: StoreManifest = { journal: 0, tables: new Map() };
  for (const record of records) applyRecord(manifest, new VarintReader(record));
  return manifest;
}

function applyRecord(manifest: StoreManifest, record: VarintReader): void {
  while (!record.isAtEnd) {
    const field = record.number();
    if (field === JOURNAL) manifest.journal = record.number();
    else if (field === COMPARATOR) record.bytes();
    else if ([NEXT_FILE, LAST_SEQUENCE, PREVIOUS_JOURNAL].includes(field)) record.number();
    else if (field === COMPACT_POINTER) {
      record.number();
      record.bytes();
    } else if (field === DELETED_TABLE) {
      record.number();
      manifest.tables.delete(record.number());
    } else if (field === NEW_TABLE) {
      const level = record.number();
      const table = record.number();
      const size = record.number();
      const [smallest, largest] = [record.bytes(), record.bytes()].map((key) =>
        key.subarray(0, Math.max(0, key.length - TAG_BYTES)),
      ) as [Buffer, Buffer];
      manifest.tables.set(table, { size, level, smallest, largest });
    } else throw new RangeError(`field ${field} of the manifest is not known`);
  }
}
