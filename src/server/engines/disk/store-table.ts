import { readFile } from "node:fs/promises";
import { maskedCrc32c } from "./crc32c.js";
import { DamageError } from "./faults.js";
import { VarintReader } from "./store-manifest.js";
import { unhurried } from "./unhurried.js";

/** Where the blocks of a table's two indexes are, and a magic number. */
const FOOTER_BYTES = 48;
const MAGIC = Buffer.from("57fb808b247547db", "hex");

/** How a block is compressed, here never, and its checksum. */
const TRAILER_BYTES = 5;

/** Where a block begins and ends. */
type Place = { start: number; end: number };

/** Reads every block of one of LevelDB's tables. LevelDB does not compare their checksums. */
export async function checkTable(path: string, size: number): Promise<void> {
  const table = await readFile(path);
  const turn = unhurried();
  const check = (isRight: boolean, what: string) => {
    if (!isRight) throw new DamageError(path, what);
  };
  const block = ({ start, end }: Place): Buffer => {
    const isWhole =
      end + TRAILER_BYTES <= table.length &&
      maskedCrc32c(table, start, end + 1) === table.readUInt32LE(end + 1);
    check(isWhole, `the block at byte ${start} is broken`);
    return table.subarray(start, end);
  };
  check(table.length === size, `it has ${table.length} bytes of ${size}`);
  const footer = table.subarray(-FOOTER_BYTES);
  check(footer.subarray(-MAGIC.length).equals(MAGIC), "it does not end as a table does");
  try {
    const handles = new VarintReader(footer);
    for (const index of [placeAt(handles), placeAt(handles)]) {
      for (const place of placesIn(block(index))) {
        block(place);
        await turn();
      }
    }
  } catch (error) {
    throw error instanceof RangeError ? new DamageError(path, "its index is broken") : error;
  }
}

function placeAt(bytes: VarintReader): Place {
  const start = bytes.number();
  return { start, end: start + bytes.number() };
}

/** What the entries of an index say: each has the bytes that its key shares with the last, the others, and a place. */
function* placesIn(index: Buffer): Generator<Place, void, undefined> {
  const restarts = index.readUInt32LE(index.length - 4);
  const end = index.length - 4 - 4 * restarts;
  for (const entries = new VarintReader(index); entries.at < end; ) {
    entries.number();
    const keyBytes = entries.number();
    const valueBytes = entries.number();
    entries.at += keyBytes;
    const next = entries.at + valueBytes;
    yield placeAt(entries);
    entries.at = next;
  }
}
