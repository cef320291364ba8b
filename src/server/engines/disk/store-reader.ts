import { Heap } from "../../../lib/heap.js";
import { DamageError } from "./errors.js";
import { METADATA_KEY } from "./metadata.js";
import { readStoreParts, type StoreTable } from "./store-check.js";
import { type StoreEntry, verifiedValue } from "./store-entry.js";
import { VarintReader } from "./store-manifest.js";
import { StoreTableReader, type StoreWrite } from "./store-table.js";

/** The header of a batch in a journal: the sequence of its first write, and the number of writes. */
const BATCH_HEADER_BYTES = 12;

/** Writes in the order of their keys, and those of one key newest first. */
type Run = AsyncIterator<StoreWrite>;

/**
 * Reads a LevelDB without LevelDB, and without changing it. Uses only data whose checksum matches. Reports every damage
 * to `damaged`, and returns the rest.
 */
export class StoreReader {
  readonly #folder: string;
  readonly #tables: readonly StoreTable[];
  readonly #journal: StoreWrite[];
  readonly #damaged: (error: DamageError) => void;

  private constructor(
    folder: string,
    tables: readonly StoreTable[],
    journal: StoreWrite[],
    damaged: (error: DamageError) => void,
  ) {
    this.#folder = folder;
    this.#tables = tables;
    this.#journal = journal;
    this.#damaged = damaged;
  }

  static async open(folder: string, damaged: (error: DamageError) => void): Promise<StoreReader> {
    const { tables, journals } = await readStoreParts(folder, damaged);
    const writes = journals.flat().flatMap((batch) => [...writesOf(batch)]);
    return new StoreReader(folder, tables, writes.sort(byKeyThenNewest), damaged);
  }

  /** Every entry under `prefix`, in order. */
  async *all(prefix: string): AsyncGenerator<StoreEntry, void, undefined> {
    const from = Buffer.from(prefix);
    let last: Buffer | undefined;
    for await (const { key, value } of mergeRuns(this.#runs(from))) {
      if (last?.equals(key)) continue;
      last = Buffer.from(key);
      if (!value || !startsWith(key, from)) continue;
      const name = key.toString();
      if (name === METADATA_KEY) continue;
      const verified = verifiedValue(name, value);
      if (verified) yield { key: name, value: verified };
      else
        this.#damaged(
          new DamageError(this.#folder, `the checksum of ${JSON.stringify(name)} does not match`),
        );
    }
  }

  #runs(prefix: Buffer): Run[] {
    const overlapping = this.#tables.filter(({ smallest, largest }) => {
      return (
        Buffer.compare(largest, prefix) >= 0 &&
        (startsWith(smallest, prefix) || Buffer.compare(smallest, prefix) <= 0)
      );
    });
    const levels = new Map<number, StoreTable[]>();
    // Tables of level 0 may overlap, so each is a run of its own. Those of another level do not.
    for (const [i, table] of overlapping.entries()) {
      const level = table.level === 0 ? -1 - i : table.level;
      levels.set(level, [...(levels.get(level) ?? []), table]);
    }
    const runs = [...levels.values()].map((tables) =>
      this.#run(tables.sort((a, b) => Buffer.compare(a.smallest, b.smallest))),
    );
    return [...runs, asyncOf(this.#journal)];
  }

  async *#run(tables: readonly StoreTable[]): AsyncGenerator<StoreWrite, void, undefined> {
    for (const { path } of tables) {
      try {
        yield* (await StoreTableReader.read(path)).writes();
      } catch (error) {
        // A missing table was reported when the store was opened.
        if ((error as { code?: string }).code !== "ENOENT") throw error;
      }
    }
  }
}

/** The writes of a batch in a journal, whose checksum was verified. */
function* writesOf(batch: Buffer): Generator<StoreWrite, void, undefined> {
  const first = batch.readUIntLE(0, 6);
  const count = batch.readUInt32LE(8);
  const reader = new VarintReader(batch, BATCH_HEADER_BYTES);
  const readBytes = () => {
    const length = reader.number();
    const start = reader.at;
    reader.at += length;
    return batch.subarray(start, reader.at);
  };
  for (let i = 0; i < count; i++) {
    const isSet = batch.readUInt8(reader.at++) === 1;
    const key = readBytes();
    yield { key, sequence: first + i, value: isSet ? readBytes() : undefined };
  }
}

async function* asyncOf<T>(items: readonly T[]): AsyncGenerator<T, void, undefined> {
  yield* items;
}

const startsWith = (key: Buffer, prefix: Buffer): boolean => key.subarray(0, prefix.length).equals(prefix);

const byKeyThenNewest = (a: StoreWrite, b: StoreWrite): number =>
  Buffer.compare(a.key, b.key) || b.sequence - a.sequence;

/** Merges the runs into one. */
async function* mergeRuns(runs: readonly Run[]): AsyncGenerator<StoreWrite, void, undefined> {
  const heads = new Heap<{ write: StoreWrite; run: Run }>((a, b) => byKeyThenNewest(a.write, b.write));
  const advance = async (run: Run) => {
    const { value, done } = await run.next();
    if (!done) heads.push({ write: value, run });
  };
  for (const run of runs) await advance(run);
  for (let head = heads.pop(); head; head = heads.pop()) {
    yield head.write;
    await advance(head.run);
  }
}
