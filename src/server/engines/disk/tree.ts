import { join } from "node:path";
import { hashOf } from "./bloom.js";
import { compact, mergeable } from "./compaction.js";
import { away, systemFault } from "./faults.js";
import type { Files } from "./files.js";
import { Groups } from "./groups.js";
import { type Journal, journalName } from "./journal.js";
import { type Op, opBytes } from "./journal-frame.js";
import { type Manifest, saveManifest, tableName } from "./manifest.js";
import { Memtable } from "./memtable.js";
import { merged } from "./merge.js";
import { passing } from "./slab.js";
import { type BlockCache, Table } from "./table.js";

/** One call's writes: durable together, and then seen together. */
type Batch = { ops: Op[]; applied: () => void };

/** What a tree is made of, as recover() has found it. */
export interface TreeParts {
  files: Files;
  folder: string;
  cache: BlockCache;
  /** The bytes in memory from which on they are written as a table. */
  memtableBytes: number;
  tables: Table[];
  memtable: Memtable;
  journal: Journal;
  manifest: Manifest;
  counter: bigint;
  nextTable: number;
}

/** How many entries, deleted ones included, page() goes through at most. */
const PAGE_STEPS = 4096;

/** One step of a list: `after` is where the next one begins; undefined: this was the last. */
export type Page = { entries: { key: string; value: Buffer }[]; after: string | undefined };

/**
 * Bytes by key, in the order of their UTF-8: a journal, what it says in memory, and tables of what it said earlier.
 * What is seen is durable. Reads take turns of the event loop as they are; writes are grouped.
 */
export class Tree {
  readonly #parts: TreeParts;
  readonly #groups = new Groups<Batch>(
    (batches) => this.#write(batches),
    () => this.#pending.clear(),
  );
  /** What is written and not yet durable. */
  readonly #pending = new Map<string, Op>();
  #memtable: Memtable;
  /** What is on its way to a table. */
  #frozen: { memtable: Memtable; manifest: Omit<Manifest, "tables"> } | undefined;
  #tables: Table[];
  #counter: bigint;
  #flushing: Promise<void> | undefined;
  #compacting: Promise<void> | undefined;
  #flushFault: unknown;
  #installing: Promise<void> = Promise.resolve();
  #pins = 0;
  #unpinned: (() => Promise<void>)[] = [];
  #closed = false;

  constructor(parts: TreeParts) {
    this.#parts = parts;
    this.#memtable = parts.memtable;
    this.#tables = parts.tables;
    this.#counter = parts.counter;
  }

  /** A number above all that were given out before, in earlier lives of the folder too, once a write behind it is durable. */
  nextVersion(): bigint {
    return ++this.#counter;
  }

  /** The durable value at `key`. It is the tree's: whoever hands it out copies it. */
  get(key: string): Buffer | undefined {
    if (this.#closed) throw away();
    const op = this.#memtable.get(key) ?? this.#frozen?.memtable.get(key);
    if (op) return op.value;
    if (this.#tables.length === 0) return undefined;
    const bytes = passing(key);
    const hash = hashOf(bytes);
    for (const table of this.#tables) {
      const found = table.mayHave(hash) ? table.get(bytes) : undefined;
      if (found) return found.value;
    }
    return undefined;
  }

  /** The value at `key` once all that is being written is durable: what conditions are about. */
  latest(key: string): Buffer | undefined {
    const op = this.#pending.get(key);
    return op ? op.value : this.get(key);
  }

  /** Whether the key is being written. */
  isPending(key: string): boolean {
    return this.#pending.has(key);
  }

  /**
   * Writes all of `ops` or none. When they are durable, `applied` is called, readers see them, and it resolves: then all
   * that was written before is durable as well.
   */
  async write(ops: Op[], applied: () => void = () => {}): Promise<void> {
    if (this.#closed) throw away();
    for (const op of ops) this.#pending.set(op.key, op);
    const bytes = ops.reduce((sum, op) => sum + opBytes(op), 0);
    try {
      await this.#groups.add({ ops, applied }, bytes);
    } catch (error) {
      throw systemFault(error) ?? error;
    }
  }

  /** Entries under `prefix` behind the key `after`, at most `most`. */
  page(prefix: string, after: string | undefined, most: number): Page {
    if (this.#closed) throw away();
    const begin = Buffer.from(prefix);
    const behind = after === undefined ? undefined : Buffer.from(after);
    // An `after` in front of the prefix is in front of all that it names.
    const past = behind && behind.compare(begin) >= 0 ? behind : undefined;
    const all = merged([
      this.#memtable.cursor(prefix, after),
      ...(this.#frozen ? [this.#frozen.memtable.cursor(prefix, after)] : []),
      ...this.#tables.map((table) => table.cursor(past ?? begin, true)),
    ]);
    const entries: Page["entries"] = [];
    let last: Buffer | undefined;
    for (let steps = 0; all.key; all.next(), steps++) {
      const { key, value } = all;
      if (past?.equals(key)) continue;
      if (!key.subarray(0, begin.length).equals(begin)) return { entries, after: undefined };
      if (steps >= PAGE_STEPS || entries.length >= most) return { entries, after: last?.toString() ?? after };
      last = key;
      if (value) entries.push({ key: key.toString(), value });
    }
    return { entries, after: undefined };
  }

  /** What there is now, while nothing of it goes away: for a backup. `unpin` ends that. */
  pin(): {
    manifest: Manifest;
    tables: string[];
    journals: { name: string; end: number | undefined }[];
    unpin(): Promise<void>;
  } {
    this.#pins++;
    const { journal, manifest } = this.#parts;
    const journals = [];
    for (let number = manifest.journal; number <= journal.number; number++) {
      journals.push({ name: journalName(number), end: number === journal.number ? journal.end : undefined });
    }
    const unpin = async () => {
      if (--this.#pins > 0) return;
      for (const remove of this.#unpinned.splice(0)) await remove();
    };
    return { manifest: { ...manifest }, tables: manifest.tables.map(tableName), journals, unpin };
  }

  /** Begins to write what is in memory as a table. The journal has just begun a new file. */
  freeze(): void {
    const { number, sequence } = this.#parts.journal;
    this.#frozen = {
      memtable: this.#memtable,
      manifest: { journal: number, sequence, counter: this.#counter },
    };
    this.#memtable = new Memtable();
    this.#flushing = this.#flush();
  }

  /** Waits for writes under way. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#groups.settled();
    await this.#flushing;
    await this.#compacting;
    await this.#parts.journal.close();
    for (const table of this.#tables) table.close();
  }

  async #write(batches: Batch[]): Promise<void> {
    await this.#makeRoom();
    await this.#parts.journal.write(
      this.#counter,
      batches.flatMap(({ ops }) => ops),
    );
    for (const { ops, applied } of batches) {
      for (const op of ops) {
        this.#memtable.apply(op);
        if (this.#pending.get(op.key) === op) this.#pending.delete(op.key);
      }
      applied();
    }
  }

  /** Begins a new memtable where the present one is full; waits where the disk does not keep up with the callers. */
  async #makeRoom(): Promise<void> {
    const { journal, memtableBytes } = this.#parts;
    if (this.#memtable.bytes < memtableBytes) return;
    if (this.#frozen && !this.#flushing) this.#flushing = this.#flush();
    if (this.#frozen && this.#memtable.bytes > 2 * memtableBytes) {
      await this.#flushing;
      if (this.#frozen) throw this.#flushFault;
    }
    if (this.#frozen) return;
    await journal.rotate();
    this.freeze();
  }

  async #flush(): Promise<void> {
    const { files, folder, cache, manifest } = this.#parts;
    const frozen = this.#frozen;
    if (!frozen) return;
    try {
      const number = this.#parts.nextTable++;
      await frozen.memtable.write(files, folder, number, () => this.#tables);
      const table = new Table(folder, number, cache);
      await this.#install((tables) => [table, ...tables], frozen.manifest);
      for (let old = manifest.journal; old < frozen.manifest.journal; old++) this.#remove(journalName(old));
      if (mergeable(this.#tables).length > 0) this.#compacting ??= this.#compact();
    } catch (error) {
      this.#flushFault = error;
    } finally {
      this.#flushing = undefined;
    }
  }

  async #compact(): Promise<void> {
    const { files, folder, cache } = this.#parts;
    try {
      for (let some = mergeable(this.#tables); some.length > 0; some = mergeable(this.#tables)) {
        const number = this.#parts.nextTable++;
        const isOldest = some.at(-1) === this.#tables.at(-1);
        const path = join(folder, tableName(number));
        if (!(await compact(files, path, some, isOldest, () => this.#closed))) return;
        const table = new Table(folder, number, cache);
        await this.#install((tables) =>
          tables.toSpliced(tables.indexOf(some[0] as Table), some.length, table),
        );
        for (const old of some) {
          old.close();
          this.#remove(tableName(old.number));
        }
      }
    } catch (error) {
      // There is less room, and reads are slower, until a later one succeeds.
      this.#flushFault = error;
    } finally {
      this.#compacting = undefined;
    }
  }

  /** Makes `change` durable, and then what readers see. With `flushed`, the frozen memtable has become a table. */
  #install(change: (tables: Table[]) => Table[], flushed?: Omit<Manifest, "tables">): Promise<void> {
    const install = async () => {
      const { files, folder } = this.#parts;
      const tables = change(this.#tables);
      const numbers = tables.map(({ number }) => number);
      const manifest = { ...this.#parts.manifest, ...flushed, tables: numbers };
      await saveManifest(files, folder, manifest);
      this.#parts.manifest = manifest;
      this.#tables = tables;
      if (flushed) this.#frozen = undefined;
    };
    const installed = this.#installing.then(install);
    this.#installing = installed.catch(() => {});
    return installed;
  }

  #remove(name: string): void {
    const { files, folder } = this.#parts;
    // What stays behind is removed when the folder is opened.
    const remove = () => files.unlink(join(folder, name)).catch(() => {});
    if (this.#pins > 0) this.#unpinned.push(remove);
    else void remove();
  }
}
