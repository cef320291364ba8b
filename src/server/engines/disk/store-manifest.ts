/** What LevelDB's manifest says of its other files. */
export type StoreManifest = {
  /** The journal that has what no table has yet; 0: none has been begun. */
  journal: number;
  /** What it says of each table, by its number. */
  tables: Map<number, TableFacts>;
};

/** A table's bytes, its level, and the first and the last key in it. */
export type TableFacts = { size: number; level: number; smallest: Buffer; largest: Buffer };

/** The sequence and the kind of a write, behind each key that a table has. */
const TAG_BYTES = 8;

/** What stands in front of each field of a record. */
const COMPARATOR = 1;
const JOURNAL = 2;
const NEXT_FILE = 3;
const LAST_SEQUENCE = 4;
const COMPACT_POINTER = 5;
const DELETED_TABLE = 6;
const NEW_TABLE = 7;
const PREVIOUS_JOURNAL = 9;

/** Takes a buffer apart from its beginning on. */
export class VarintReader {
  readonly #bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  get isOver(): boolean {
    return this.at >= this.#bytes.length;
  }

  /** Numbers that JavaScript does not have come out rounded: only counters of writes are as large. */
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

/** What all records of a manifest come to. Throws a RangeError where one of them is none. */
export function manifestOf(records: readonly Buffer[]): StoreManifest {
  const manifest: StoreManifest = { journal: 0, tables: new Map() };
  for (const record of records) applyRecord(manifest, new VarintReader(record));
  return manifest;
}

function applyRecord(manifest: StoreManifest, record: VarintReader): void {
  while (!record.isOver) {
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
