import { join } from "node:path";
import { SortedMap } from "../memory/sorted-map.js";
import { hashOf } from "./bloom.js";
import type { Files } from "./files.js";
import type { Op } from "./journal-frame.js";
import { tableName } from "./manifest.js";
import type { Cursor, Table } from "./table.js";
import { TableWriter } from "./table-writer.js";
import { unhurried } from "./unhurried.js";

/** What an entry takes in memory beside its key and value, about. */
const ENTRY_OVERHEAD_BYTES = 384;

/** What is in the journal and in no table yet. */
export class Memtable {
  readonly #ops = new SortedMap<Op>();
  /** The bytes that it takes in memory, about. */
  bytes = 0;

  get size(): number {
    return this.#ops.size;
  }

  get(key: string): Op | undefined {
    return this.#ops.get(key);
  }

  apply(op: Op): void {
    const before = this.#ops.get(op.key);
    if (before) this.bytes += (op.value?.length ?? 0) - (before.value?.length ?? 0);
    else this.bytes += ENTRY_OVERHEAD_BYTES + op.key.length + (op.value?.length ?? 0);
    this.#ops.set(op.key, op);
  }

  cursor(prefix: string, after?: string): Cursor {
    const ops = this.#ops.under(prefix, after);
    const step = () => {
      const { value: op } = ops.next();
      return op && { key: Buffer.from(op.key), value: op.value };
    };
    let now = step();
    return {
      get key() {
        return now?.key;
      },
      get value() {
        return now?.value;
      },
      next() {
        now = step();
      },
    };
  }

  /** Writes it all as the table `number`, but for deletions of what no older table has. */
  async write(files: Files, folder: string, number: number, older: () => readonly Table[]): Promise<void> {
    const writer = await TableWriter.create(files, join(folder, tableName(number)));
    const turn = unhurried();
    try {
      for (const entry = this.cursor(""); entry.key; entry.next()) {
        const { key, value } = entry;
        const hash = value ? 0 : hashOf(key);
        if (value || older().some((table) => table.mayHave(hash))) writer.add({ key, value });
        if (writer.isFull) await writer.flush();
        await turn();
      }
      await writer.finish();
    } catch (error) {
      await writer.abandon();
      throw error;
    }
  }
}
