import { Heap } from "../shared/heap.js";
import { DamageError } from "./errors.js";
import { METADATA_KEY } from "./metadata.js";
import { readStoreParts, type StoreTable } from "./store-check.js";
import { type StoreEntry, verifiedValue } from "./store-entry.js";
import { VarintReader } from "./store-manifest.js";
import { StoreTableReader, type StoreWrite } from "./store-table.js";

/** The header of a batch in a journal: the sequence of its first write, and how many it has. */
const BATCH_HEADER_BYTES = 12;

/** Some writes, in the order of their keys, and of one key the last one first. */
type Run = AsyncIterator<StoreWrite>;

/**
 * Reads a LevelDB without LevelDB, and without changing it: nothing is used that is not as it was written. What is
 * damaged goes to `damaged`; the rest is told all the same.
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
    for await (const { key, value } of merged(this.#runs(from))) {
      if (last?.equals(key)) continue;
      last = Buffer.from(key);
      if (!value || !startsWith(key, from)) continue;
      const name = key.toString();
      if (name === METADATA_KEY) continue;
      const own = verifiedValue(name, value);
      if (own) yield { key: name, value: own };
      else
        this.#damaged(
          new DamageError(this.#folder, `what it has at ${JSON.stringify(name)} is not what was written`),
        );
    }
  }

  #runs(prefix: Buffer): Run[] {
    const found = this.#tables.filter(({ smallest, largest }) => {
      return (
        Buffer.compare(largest, prefix) >= 0 &&
        (startsWith(smallest, prefix) || Buffer.compare(smallest, prefix) <= 0)
      );
    });
    const levels = new Map<number, StoreTable[]>();
    // Tables of the first level may have the same keys; those of another have none in common.
    for (const [i, table] of found.entries()) {
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
        // That it is missing was told when the store was opened.
        if ((error as { code?: string }).code !== "ENOENT") throw error;
      }
    }
  }
}

/** The writes of a batch in a journal. A checksum covers it, so it is as it was written. */
function* writesOf(batch: Buffer): Generator<StoreWrite, void, undefined> {
  const first = batch.readUIntLE(0, 6);
  const count = batch.readUInt32LE(8);
  const reader = new VarintReader(batch, BATCH_HEADER_BYTES);
  const take = () => {
    const length = reader.number();
    const start = reader.at;
    reader.at += length;
    return batch.subarray(start, reader.at);
  };
  for (let i = 0; i < count; i++) {
    const isSet = batch.readUInt8(reader.at++) === 1;
    const key = take();
    yield { key, sequence: first + i, value: isSet ? take() : undefined };
  }
}

async function* asyncOf<T>(items: readonly T[]): AsyncGenerator<T, void, undefined> {
  yield* items;
}

const startsWith = (key: Buffer, prefix: Buffer): boolean => key.subarray(0, prefix.length).equals(prefix);

const byKeyThenNewest = (a: StoreWrite, b: StoreWrite): number =>
  Buffer.compare(a.key, b.key) || b.sequence - a.sequence;

/** The writes of all runs, in the order that each of them has. */
async function* merged(runs: readonly Run[]): AsyncGenerator<StoreWrite, void, undefined> {
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
